"""One training batch of the published selector: embeddings, states, scores, losses and gradients."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaModel

from glus import KeyFrameSelector
from glus.config import LoraConfig
from glus.model.lora import add_lora, merged_state_dict
from glus.model.packing import Layout
from glus.selector import model as selector_model
from glus.selector import token_merging
from glus.selector.model import SelectorOutput
from glus.training.selector.objective import SelectorObjective
from glus.training.selector.samples import SelectorBatch, SelectorSample
from tests.parity.differences import within
from tests.parity.selector.conftest import Record
from tests.parity.selector.goldens import (
    SelectorGoldens,
    largest,
    parametrised,
    parse_conversation,
    selector_goldens,
)

RUNS = list(selector_goldens().results("B").items())


def trained_model(published: SelectorGoldens) -> tuple[KeyFrameSelector, dict[str, str]]:
    """Chat-UniVi with adapters and the recorded trainable state; published parameter names -> ours."""
    model = published.model("chatunivi")
    state = load_file(published.file(published.kind("B", "state_file")))
    lora = published.kind("B", "lora")
    targets = sorted({name.split(".lora_A")[0].rpartition(".")[2] for name in state if ".lora_A" in name})
    add_lora(model.language_model, LoraConfig(rank=lora["r"], alpha=lora["alpha"], dropout=0.0, targets=targets))
    model.requires_grad_(False)
    parameters = dict(model.named_parameters())
    names = {name: own_name(name) for name in state}
    for name, tensor in state.items():
        parameters[names[name]].data.copy_(tensor)
        parameters[names[name]].requires_grad_(True)
    return model, names


def own_name(name: str) -> str:
    """Our name of a parameter in the published peft naming."""
    name = name.removeprefix("base_model.model.")
    if "text_hidden_fcs" in name:
        return name.replace("model.text_hidden_fcs.0", "score_head")
    return f"language_model.{name}"


def training_batch(published: SelectorGoldens, model: KeyFrameSelector) -> SelectorBatch:
    """The published samples: frames, wording and targets as recorded."""
    samples = []
    for sample in published.kind("B", "samples"):
        frames = published.images("train", sample["video"], [*sample["context_frames"], sample["query_frame"]])
        tails = tuple(
            parse_conversation(model.tokenizer, text, expression)
            for text, expression in zip(sample["conversations"], sample["expressions"], strict=True)
        )
        pixels = model.image_processor(frames, return_tensors="pt")["pixel_values"]
        targets = torch.tensor(sample["targets"]).reshape(len(tails), 1)
        samples.append(SelectorSample(pixels[:-1], pixels[-1:], tails, targets))
    return SelectorBatch(tuple(samples))


@parametrised("training runs", RUNS, lambda run: run[1]["noise"], lambda run: run[0])
def test_a_training_batch(
    published: SelectorGoldens, case: tuple[str, dict[str, Any]], inputs_of: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, run = case
    arrays, recorded_gradients = run.get("files", [f"cases/B_{name}.npz", f"cases/B_grads_{name}.safetensors"])
    golden, label = published.arrays(arrays), f"B_{name}"
    model, names = trained_model(published)
    batch = training_batch(published, model)
    states, supervised = inputs_of(model.score_head), inputs_of(model.language_model.lm_head)
    first_layer = inputs_of(model.score_head[1])
    outputs: list[SelectorOutput] = []
    model.register_forward_hook(lambda _, __, output: outputs.append(output))
    noise, prompts = record_noise(monkeypatch), record_prompts(monkeypatch)
    losses = SelectorObjective(model, score_weight=1.0, ce_weight=1.0)(batch, noise_seed=run["seed"])

    for size, drawn in noise.items():
        assert np.array_equal(torch.cat(drawn), golden[f"noise_{size}"]), size
    assert bool(noise) == (run["seed"] is not None)
    within(label, "hidden state", largest(torch.cat(states), golden["score_hidden"]), 1e-5)
    within(label, "score head's first layer", largest(torch.cat(first_layer), golden["fc1_preact"]), 1e-5)
    scores = torch.cat([part.detach().flatten() for part in outputs[0].scores])
    within(label, "score", largest(scores, golden["score"].flatten()), 1e-5)
    within(label, "states at labels", largest(supervised[0], golden["last_hidden_label_positions"]), 1e-5)
    within(label, "logits at labels", largest(outputs[0].logits.detach(), golden["logits_label_positions"]), 2e-5)
    for key in (key for key in golden if key.startswith("inputs_embeds_conv")):
        prompt = prompts[int(key.removeprefix("inputs_embeds_conv"))]
        within(label, "embeddings", largest(prompt, golden[key][: len(prompt)]), 1e-5)
    within(label, "cross-entropy", abs(float(losses["ce"]) - run["ce_loss"]), 1e-5)
    within(label, "L1", abs(float(losses["score"]) - run["iou_loss"]), 1e-5)
    within(label, "loss", abs(float(losses["loss"].detach()) - run["loss"]), 1e-5)

    losses["loss"].backward()
    parameters = dict(model.named_parameters())
    gradients = {published_name: parameters[own].grad for published_name, own in names.items()}
    for parameter, norm in run["grad_norms"].items():
        gradient = gradients[parameter]
        assert gradient is not None, parameter
        within(label, "gradient norms, relative", abs(float(gradient.norm()) / norm - 1), 1e-4)
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    within(label, "total gradient norm, relative", abs(float(total) / run["total_grad_norm"] - 1), 1e-4)
    for parameter, expected in load_file(published.file(recorded_gradients)).items():
        difference = (gradients[parameter] - expected).abs().max() / expected.abs().max()
        within(label, "gradients, of the largest", float(difference), 1e-4)


def record_noise(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[Tensor]]:
    """Noise of every clustering by the number of its tokens, call after call."""
    drawn: dict[int, list[Tensor]] = defaultdict(list)
    cluster = token_merging.cluster_tokens

    def recorded(tokens: Tensor, count: int, neighbours: int, noise: Tensor | None) -> token_merging.Clusters:
        if noise is not None:
            drawn[noise.shape[1]].append(noise)
        return cluster(tokens, count, neighbours, noise)

    monkeypatch.setattr(token_merging, "cluster_tokens", recorded)
    return drawn


def record_prompts(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Embeddings [length, D] of every conversation from the packed row: a leaf behind what it continues."""
    prompts: list[Tensor] = []
    read = selector_model.read_packed

    def recorded(model: LlamaModel, embeddings: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        *_, tails = layout.every.parts
        prompts.extend(embeddings.detach()[branch.unique()] for branch in tails.read)  # without what fills it up
        return read(model, embeddings, layout)

    monkeypatch.setattr(selector_model, "read_packed", recorded)
    return prompts


def test_merged_adapters_are_the_published_selector(published: SelectorGoldens) -> None:
    """What the official merging script wrote from the same state."""
    model, _ = trained_model(published)
    merged, expected = merged_state_dict(model), published.model("selector").state_dict()
    assert merged.keys() == expected.keys()
    difference = max(float((merged[name] - tensor).abs().max()) for name, tensor in expected.items())
    within("B, merged", "weights", difference, 1e-6)
