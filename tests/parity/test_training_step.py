"""One training batch: losses, embeddings and gradients of the published training forward."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from glus import GLUS
from glus.config import ContrastiveConfig, LoraConfig, LossConfig, MemoryConfig
from glus.data.batch import ClipBatch, TokenKey, expand_images, pad_ids
from glus.data.frames import load_frames
from glus.masks import decode_rle, union
from glus.model.contrastive import TokenBank
from glus.training.lora import add_lora
from glus.training.objectives import ClipObjective, seg_hidden
from tests.parity.conftest import GlusGoldens
from tests.parity.differences import within

PUBLISHED_NAMES = (
    ("mllm.language_model.lm_head.", "lm_head."),
    ("mllm.language_model.", ""),
    ("mllm.mm_projector.", "model.mm_projector."),
    ("text_hidden_fcs.", "model.text_hidden_fcs.0."),
    ("masks.sam2.", "model.visual_model."),
)


@pytest.fixture(scope="module")
def case(goldens: GlusGoldens) -> dict[str, Any]:
    training = goldens.cases.get("training")
    if not training:
        pytest.skip("the folder holds no training case")
    return training


@pytest.fixture(scope="module")
def record(goldens: GlusGoldens, case: dict[str, Any]) -> dict[str, Any]:
    return json.loads((goldens.folder / case["expected"]["record"]).read_text())


@pytest.fixture(scope="module")
def trained(goldens: GlusGoldens, case: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The model after one backward pass, with the batch's losses and embeddings."""
    torch.set_num_threads(1)
    names = goldens.cases["model"]
    model = GLUS.from_pretrained(
        goldens.folder / names["checkpoint"],
        vision_tower=goldens.folder / names["clip"],
        sam2_config=str(goldens.folder / names["sam2_config"]),
        load_gamma=case["gamma"] == "kept",
    )
    lora = LoraConfig(rank=case["lora_rank"], alpha=case["lora_alpha"], dropout=0.0, targets=["q_proj", "v_proj"])
    add_lora(model.language_model, lora)
    load_lora(model, goldens, case)
    for name, parameter in model.named_parameters():
        trained = ("lora_", "embed_tokens", "lm_head", "mm_projector", "text_hidden_fcs", "sam_mask_decoder")
        parameter.requires_grad_(any(part in name for part in trained))
    bank = TokenBank(512)
    fill_bank(bank, goldens, case, record)
    objective = ClipObjective(
        model,
        LossConfig(**{name: case["loss_weights"][name] for name in ("ce", "bce", "dice")}),
        ContrastiveConfig(
            weight=case["loss_weights"]["contrastive"],
            temperature=0.07,
            bank_size=512,
            num_negatives=128,
            same_object_negatives=True,
            single_contributor=False,
        ),
        MemoryConfig(train_stride=case["memory_stride"], max_strided=6, detach=True),
        bank,
        pick=replay(record),
    )
    batch = build_batch(model, goldens, case, record)
    losses = objective(batch)
    losses["loss"].backward()
    with torch.no_grad():
        prompts = model.seg_prompts(seg_hidden(model, batch).seg)
    return {"model": model, "losses": losses, "batch": batch, "prompts": prompts}


def load_lora(model: GLUS, goldens: GlusGoldens, case: dict[str, Any]) -> None:
    weights = load_file(goldens.folder / case["lora"])
    parameters = dict(model.named_parameters())
    for name, tensor in weights.items():
        short = name.split("model.layers.")[1].replace(".default.", ".").replace(".weight", ".default.weight")
        parameters[f"mllm.language_model.model.layers.{short}"].data.copy_(tensor)


def object_sets(goldens: GlusGoldens, case: dict[str, Any]) -> dict[str, frozenset[str]]:
    videos = json.loads((goldens.folder / case["annotations"][0]).read_text())["videos"]
    return {
        f"mevis_{video}_{number}": frozenset(map(str, expression["obj_id"]))
        for video, entry in videos.items()
        for number, expression in entry["expressions"].items()
    }


def key(str_id: str, frame: str, objects: dict[str, frozenset[str]]) -> TokenKey:
    _, video, expression = str_id.split("_", 2)
    return TokenKey(video, expression, frame, objects.get(str_id, frozenset([str_id])))


def fill_bank(bank: TokenBank, goldens: GlusGoldens, case: dict[str, Any], record: dict[str, Any]) -> None:
    objects = object_sets(goldens, case)
    vectors = torch.from_numpy(goldens.arrays(case["expected"]["arrays"])["bank_vectors"])
    names = [key(entry["str_id"], entry["frame_id"], objects) for entry in record["token_bank_prefill"]]
    bank.insert(names, vectors)


def replay(record: dict[str, Any]):
    """The drawn indices of the published run, in its order: negatives, then the positive."""

    def drawn() -> Iterator[tuple[list[int], int]]:
        for entry in record["contrastive_log"]:
            if entry["loss"] is not None:
                yield entry["negative_indices"], entry["n_negatives"]
                yield [entry["positive_index"]], entry["n_positives"]

    draws = drawn()

    def pick(count: int, population: int) -> list[int]:
        indices, expected = next(draws)
        assert (len(indices), expected) == (count, population)
        return indices

    return pick


def build_batch(model: GLUS, goldens: GlusGoldens, case: dict[str, Any], record: dict[str, Any]) -> ClipBatch:
    rows = [
        expand_images(model.tokenizer.encode_with_images(text), model.mllm.tokens_per_frame)
        for text in record["conversations_after_im_start_end"]
    ]
    input_ids, mask = pad_ids(rows, model.tokenizer.pad_id)
    objects, annotations = object_sets(goldens, case), json.loads((goldens.folder / case["annotations"][1]).read_text())
    videos = json.loads((goldens.folder / case["annotations"][0]).read_text())["videos"]
    clip_pixels, sam2_pixels, targets, keys = [], [], [], []
    for sample, names in zip(case["samples"], record["sampled_frames"], strict=True):
        frames = load_frames(goldens.folder / sample["frames"])
        query = [frames[index] for index in sample["query_frames"]]
        clip_pixels.append(model.transform.clip([frames[index] for index in sample["context_frames"]] + query))
        sam2_pixels.append(model.transform.sam2(query))
        masks = []
        for str_id in sample["str_ids"]:
            expression = videos[sample["video"]]["expressions"][str_id.split("_", 2)[2]]
            tracks = [annotations[str(number)] for number in expression["anno_id"]]
            height, width = frames[0].size[::-1]
            masks.append(
                np.stack(
                    [
                        union((decode_rle(t[i]["counts"], height, width) for t in tracks if t[i]), height, width)
                        for i in sample["query_frames"]
                    ]
                )
            )
            keys.append(tuple(key(str_id, name, objects) for name in names))
        targets.append(torch.from_numpy(np.stack(masks)))
    return ClipBatch(
        clip_pixels=torch.stack(clip_pixels),
        sam2_pixels=torch.stack(sam2_pixels),
        input_ids=input_ids,
        attention_mask=mask,
        clip_of=torch.tensor([number for number, item in enumerate(case["samples"]) for _ in item["str_ids"]]),
        seg_positions=(input_ids == model.seg_id).nonzero()[:, 1].reshape(len(rows), -1) - 1,
        targets=tuple(targets),
        keys=tuple(keys),
    )


def test_positions_and_embeddings(goldens: GlusGoldens, case: dict[str, Any], trained: dict[str, Any]) -> None:
    golden = goldens.arrays(case["expected"]["arrays"])
    assert np.array_equal(trained["batch"].seg_positions.numpy(), golden["seg_positions_expanded"])
    within("training", "[SEG] embedding", float(np.abs(trained["prompts"].numpy() - golden["seg_embed"]).max()), 3e-4)


def test_losses(case: dict[str, Any], trained: dict[str, Any]) -> None:
    weights, expected = {"loss": 1.0, **case["loss_weights"]}, case["losses"]
    names = {
        "ce": "ce_loss", "bce": "mask_bce_loss", "dice": "mask_dice_loss", "con": "contrastive_loss", "loss": "loss",
    }  # fmt: skip
    for ours, theirs in names.items():
        value = float(trained["losses"][ours].detach()) * weights["contrastive" if ours == "con" else ours]
        within("training", f"{theirs}, relative", abs(value / expected[theirs] - 1), 1e-4)


def test_gradients(goldens: GlusGoldens, case: dict[str, Any], trained: dict[str, Any]) -> None:
    golden = goldens.arrays(case["expected"]["arrays"])
    squares, compared = 0.0, 0
    for name, parameter in trained["model"].named_parameters():
        if parameter.grad is None:
            continue
        squares += float(parameter.grad.double().pow(2).sum())
        theirs = golden.get(f"grad/{published_name(name)}")
        if theirs is not None:
            compared += 1
            difference = float(np.linalg.norm(parameter.grad.numpy() - theirs) / np.linalg.norm(theirs))
            within("training", "gradients, relative", difference, 2e-2)
    assert compared == sum(name.startswith("grad/") for name in golden)
    within("training", "gradient norm, relative", abs(math.sqrt(squares) / case["total_grad_norm"] - 1), 1e-3)


def published_name(name: str) -> str:
    return next(theirs + name.removeprefix(ours) for ours, theirs in PUBLISHED_NAMES if name.startswith(ours))
