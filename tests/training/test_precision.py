"""A base stored in 16 bits is trained like one in float32: every trained part moves, losses agree."""

from functools import partial

import pytest
import torch
from test_loop import COMPUTE, optimiser, run
from together import together

from glus.config import load_config
from glus.model.conversations import pack_conversations
from glus.model.glus import GlusModel
from glus.model.lora import add_lora
from glus.model.scratch import build_from_scratch
from glus.processing.conversation import conversation_texts
from glus.processing.sentences import IM_END, IM_START, SEG
from glus.processing.tokenizer import train_tokenizer
from glus.training.loop.phase import Hooks, Phase
from glus.training.loop.trainable import part_of, select_parameters
from glus.training.segmentation.batch import ClipBatch, TokenKey
from glus.training.segmentation.contrastive import TokenBank
from glus.training.segmentation.objectives import ClipObjective

PARTS = ("lora", "embeddings", "lm_head", "mm_projector", "text_hidden_fcs", "mask_decoder")
STEPS = 6


def build_model(root, stored: torch.dtype) -> GlusModel:
    """Weights that bfloat16 and float16 hold exactly, in the type that they are stored in; adapters."""
    tokenizer = train_tokenizer([*conversation_texts(), "the red circle"], 400)
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    model = build_from_scratch(load_config(root / "params.yaml").model, tokenizer, seed=0)
    model.mllm.to(torch.bfloat16).to(torch.float16).to(stored)
    torch.manual_seed(0)
    add_lora(model.language_model, load_config(root / "params.yaml").model.lora)
    return model


def build_batch(model: GlusModel, number: int) -> ClipBatch:
    """One clip of one context and two query frames, two expressions."""
    draw = torch.Generator().manual_seed(number)
    num_images, seg = 3, model.seg_id
    image = [-200] * model.mllm.tokens_per_frame
    rows = [[1, *image * num_images, 300 + row, seg, 310, seg] for row in range(2)]
    asked = [[position - 1 for position, token in enumerate(row) if token == seg] for row in rows]
    clip, sam2 = model.vision_tower.config.image_size, model.masks.image_size
    return ClipBatch(
        clip_pixels=torch.randn(1, num_images, 3, clip, clip, generator=draw),
        sam2_pixels=torch.randn(1, 2, 3, sam2, sam2, generator=draw),
        input_ids=torch.tensor(rows),
        conversations=pack_conversations(rows, [0, 0], num_images * model.mllm.tokens_per_frame, asked),
        clip_of=torch.tensor([0, 0]),
        targets=(torch.rand(2, 2, 32, 32, generator=draw) > 0.7,),
        keys=tuple(
            tuple(TokenKey("v", str(row), str(frame), frozenset({str(row)})) for frame in range(2)) for row in range(2)
        ),
    )


def train(root, folder, stored, precision):
    """Six steps of two batches; the model, its weights before, and the losses."""
    torch.set_num_threads(1)
    model, rows = build_model(root, stored), []
    config = load_config(root / "params.yaml")
    parameters = select_parameters(model, PARTS)
    before = {name: parameter.detach().float().clone() for name, parameter in parameters.items()}
    objective = ClipObjective(model, config.train.loss, config.train.contrastive, config.model.memory, TokenBank(20))
    phase = Phase(
        "clip", STEPS, 2, 1, optimiser(learning_rate=1e-4), parameters, partial(build_batch, model), objective,
        end_step=objective.end_step,
    )  # fmt: skip
    compute = COMPUTE.model_copy(update={"precision": precision})
    hooks = Hooks(lambda step, phase, values, pace: rows.append(values["loss"]))
    run(model, [phase], folder, every=STEPS, hooks=hooks, compute=compute)
    return model, before, rows


def shares_moved(model, before) -> dict[str, float]:
    """Share of the entries of each part that changed."""
    counts: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        if name in before:
            moved, total = counts.setdefault(part_of(name), [0, 0])
            counts[part_of(name)] = [
                moved + int((parameter.detach().float() != before[name]).sum()), total + parameter.numel()
            ]  # fmt: skip
    return {part: moved / total for part, (moved, total) in counts.items()}


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_trained_moves_as_in_float32(stored, precision, root, tmp_path):
    whole, start, expected = train(root, tmp_path / "whole", torch.float32, "float32")
    model, before, losses = train(root, tmp_path / "half", stored, precision)
    assert {parameter.dtype for name, parameter in model.named_parameters() if name in before} == {torch.float32}
    frozen = {
        parameter.dtype
        for name, parameter in model.language_model.named_parameters()
        if not parameter.requires_grad and "embed" not in name
    }
    assert frozen == {getattr(torch, precision)}
    assert losses == pytest.approx(expected, rel=1e-2)
    reference = shares_moved(whole, start)
    assert set(reference) == set(PARTS)
    for part, share in shares_moved(model, before).items():
        assert share == pytest.approx(reference[part], abs=0.02), part


def losses_of(root, folder):
    return train(root, folder, torch.bfloat16, "bfloat16")[2]


def test_two_processes_sum_gradients_of_a_half_base(root, tmp_path):
    expected = losses_of(root, tmp_path / "alone")
    for losses in together(2, losses_of, root, tmp_path / "two"):
        assert losses == pytest.approx(expected, rel=1e-2)
