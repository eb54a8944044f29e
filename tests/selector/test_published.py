"""Scores, key frames, losses and gradients of the published selector, from its own weights and frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from glus.config import LoraConfig
from glus.data.selector_conversation import ANSWERS, encode_tail
from glus.data.tokenizer import SCORE
from glus.errors import InputError
from glus.selector.loss import SelectorObjective
from glus.selector.model import KeyFrameSelector
from glus.selector.sampling import SelectorBatch, SelectorSample
from glus.selector.validation import select_key_frame
from glus.training.lora import add_lora

NOISE_OFF = "noise_off"


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    path = shared / "goldens/selector"
    if not (path / "selector/pytorch_model.bin").is_file():
        pytest.skip(f"no published selector among the goldens: {path}")
    return path


@pytest.fixture(scope="module")
def cases(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "cases.json").read_text())


def load_bin(path: Path) -> dict[str, Tensor]:
    return torch.load(path, weights_only=True)


def load_published(folder: Path) -> KeyFrameSelector:
    """The merged selector with the CLIP tower that its files leave out."""
    return KeyFrameSelector.from_pretrained(folder / "selector", vision_tower=folder / "clip")


def read_frames(folder: Path, split: str, video: str, names: list[str]) -> list[Image.Image]:
    return [Image.open(folder / "cases/frames" / split / video / f"{name}.png").convert("RGB") for name in names]


def test_scores_and_key_frames(folder: Path, cases: dict[str, Any]) -> None:
    golden = cases["C"]["results"][NOISE_OFF]
    model = load_published(folder)
    expected = {(row["video"], row["exp_id"], row["frame"]): row["score"] for row in golden["rows"]}
    compared = 0
    for video, meta in json.loads((folder / "cases/meta_valid.json").read_text())["videos"].items():
        frames = read_frames(folder, "valid", video, meta["frames"])
        scores = model.score(frames, [item["exp"] for item in meta["expressions"].values()]).numpy()
        for expression, track in zip(meta["expressions"], scores, strict=True):
            published = [expected[video, expression, name] for name in meta["frames"]]
            np.testing.assert_allclose(track, published, atol=1e-5)
            assert int(meta["frames"][select_key_frame(track)]) == golden["selected"][f"{video}_{expression}"]
            compared += len(track)
    assert compared == len(expected)


def training_batch(folder: Path, cases: dict[str, Any], model: KeyFrameSelector) -> SelectorBatch:
    """The published samples: frames, wording and targets as recorded."""
    samples = []
    for sample in cases["B"]["samples"]:
        frames = read_frames(folder, "train", sample["video"], [*sample["context_frames"], sample["query_frame"]])
        tails = []
        for expression, conversation in zip(sample["expressions"], sample["conversations"], strict=True):
            answer = next(i for i, text in enumerate(ANSWERS) if conversation.endswith(f"ASSISTANT: {text}</s>"))
            tails.append(encode_tail(model.tokenizer, expression, int("output confidence" in conversation), answer))
        pixels = model.image_processor(frames, return_tensors="pt")["pixel_values"]
        samples.append(SelectorSample(pixels[:-1], pixels[-1:], tuple(tails), torch.tensor(sample["targets"])[:, None]))
    return SelectorBatch(tuple(samples))


def test_losses_and_gradients(folder: Path, cases: dict[str, Any]) -> None:
    golden = cases["B"]["results"][NOISE_OFF]
    model = load_published(folder)
    base = load_bin(folder / "chatunivi/pytorch_model-00001-of-00002.bin")
    base |= load_bin(folder / "chatunivi/pytorch_model-00002-of-00002.bin")
    weights = {f"language_model.{name}": value for name, value in base.items() if "self_attn" in name}
    model.load_state_dict({name: value for name, value in weights.items() if "inv_freq" not in name}, strict=False)
    lora = cases["B"]["lora"]
    add_lora(
        model.language_model, LoraConfig(rank=lora["r"], alpha=lora["alpha"], dropout=0.0, targets=["q_proj", "v_proj"])
    )
    state = load_file(folder / cases["B"]["state_file"])
    parameters = dict(model.named_parameters())
    own_names = {name: own_name(name) for name in state}
    for name, tensor in state.items():
        parameters[own_names[name]].data.copy_(tensor)
        parameters[own_names[name]].requires_grad_(True)

    losses = SelectorObjective(model, score_weight=1.0, ce_weight=1.0)(training_batch(folder, cases, model))
    assert float(losses["ce"]) == pytest.approx(golden["ce_loss"], abs=1e-5)
    assert float(losses["score"]) == pytest.approx(golden["iou_loss"], abs=1e-5)
    losses["loss"].backward()
    for name, norm in golden["grad_norms"].items():
        gradient = parameters[own_names[name]].grad
        assert gradient is not None
        assert float(gradient.norm()) == pytest.approx(norm, rel=1e-4), name


def own_name(published: str) -> str:
    """Our name of a parameter in the published peft naming."""
    name = published.removeprefix("base_model.model.")
    if "text_hidden_fcs" in name:
        return name.replace("model.text_hidden_fcs.0", "score_head")
    return f"language_model.{name}"


def test_chatunivi_gets_a_score_token_and_a_fresh_head(folder: Path) -> None:
    model = KeyFrameSelector.from_pretrained(folder / "chatunivi", vision_tower=folder / "clip")
    merged = load_published(folder)
    assert model.tokenizer.token_id(SCORE) == merged.tokenizer.token_id(SCORE) == len(model.tokenizer) - 1
    rows = model.language_model.lm_head.weight
    torch.testing.assert_close(rows[-1], rows[:-1].mean(dim=0))
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in merged.state_dict().items()
    }
    again = KeyFrameSelector.from_pretrained(folder / "chatunivi", vision_tower=folder / "clip")
    assert torch.equal(again.score_head[0].weight, model.score_head[0].weight)


def test_a_published_selector_names_what_is_missing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name its vision_tower"):
        KeyFrameSelector.from_pretrained(folder / "selector")
    for file in (folder / "selector").iterdir():
        (tmp_path / file.name).symlink_to(file)
    weights = load_bin(folder / "selector/pytorch_model.bin")
    del weights["model.norm.weight"]
    (tmp_path / "pytorch_model.bin").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"missing language_model.model.norm.weight"):
        KeyFrameSelector.from_pretrained(tmp_path, vision_tower=folder / "clip")
