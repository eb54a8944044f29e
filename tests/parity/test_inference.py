"""Whole videos through `segment_video`: what the published inference computes at every step."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from glus import segment_video
from glus.inference.passes import Pass
from glus.inference.published_names import published_sources
from glus.media.pictures import PICTURE_SUFFIXES
from glus.media.sources import open_frames
from glus.model.sam2 import resize_logits
from tests.parity.conftest import GlusGoldens, inference_cases
from tests.parity.differences import largest, masks_apart, thinned, unpacked, within
from tests.parity.recorder import StepRecorder

EXACT = {"n_llm_positions", "generated_id", "chosen_mask_token"}
WHOLE = {"lm_hidden_last", "iou_all", "stability", "object_score_logit", "low_res_moments"}
THINNED = {"low_res_s8": "low_res", "pix_feat_cond_s512": "pix_feat_cond", "mem_feat_s16": "mem_feat"}
OF_ONE_STEP = re.compile(r"(low_res_full|token0_low_res_s8|logits_orig)_(\d+)")
ALLOWED = {"token0_low_res_s8": "low_res_s8"}  # a quantity that shares the tolerance of another one


@pytest.mark.parametrize("case", inference_cases())
def test_a_video(goldens: GlusGoldens, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    golden = goldens.arrays(case["expected"]["arrays"])
    model = goldens.model(case["gamma"])
    passes = watch_passes(monkeypatch)
    stride = {"memory_stride": case["memory_stride"]} if case["use_memory"] else {}
    with monkeypatch.context() as patch:
        steps = StepRecorder(model, patch, case.get("missed_steps", ()))
        result = segment_video(
            model,
            open_frames(goldens.folder / case["frames"]),
            [case["expression"]],
            key_frame=case.get("anchor_frame"),
            use_memory=case["use_memory"],
            **stride,
        )
    assert result.context_frame_indices == case.get("context_frames", result.context_frame_indices)
    assert passes == [run["video_frames"] for run in case["passes"]]
    kept = comparable_steps(case, steps.steps("chosen_mask_token"), golden)
    compare_steps(goldens, case, steps, golden, kept)
    compare_result(goldens, case, result, golden, kept)
    if "written_png_packed" in golden:
        compare_files(goldens, case, result, golden, kept)


def watch_passes(patch: pytest.MonkeyPatch) -> list[list[int]]:
    """The frames of each pass that is run from now on."""
    passes: list[list[int]] = []
    begin: Callable[..., None] = Pass.__init__

    def watched(one: Pass, encoder: Any, tracks: Any, frames: Sequence[int]) -> None:
        passes.append(list(frames))
        begin(one, encoder, tracks, frames)

    patch.setattr(Pass, "__init__", watched)
    return passes


def comparable_steps(case: dict[str, Any], chosen: np.ndarray, golden: dict[str, np.ndarray]) -> list[int]:
    """All steps, but for fragile ones where another mask token was taken, and those that remember one of them."""
    fragile = {step for step, _ in case.get("fragile_steps", ())}
    out = {step for step in fragile if chosen[step] != golden["chosen_mask_token"][step]}
    for run in case["passes"]:
        first, end = run["steps"]
        for step in range(first, end):
            if any(first + read in out for read in case["memory_frames_per_step"][step]):
                out.add(step)
    return [step for step in range(len(chosen)) if step not in out]


def compare_steps(
    goldens: GlusGoldens, case: dict[str, Any], steps: StepRecorder, golden: dict[str, np.ndarray], kept: list[int]
) -> None:
    """Every quantity that the golden holds, at every step, those of a frame that is decoded twice included."""
    for name in golden.keys() & EXACT:
        assert np.array_equal(steps.steps(name)[kept], golden[name][kept]), name
    for name in golden.keys() & WHOLE:
        close(goldens, case, name, steps.steps(name)[kept], golden[name][kept])
    if (theirs := golden.get("lm_logits_last")) is not None:
        said = [step for step in kept if step not in case.get("missed_steps", ())]  # elsewhere the golden's are forced
        close(goldens, case, "lm_logits_last", steps.steps("lm_logits_last")[said], theirs[said])
    for name in golden.keys() & THINNED.keys():
        if name != "mem_feat_s16" or case["use_memory"]:  # without memory the published code does not encode it
            ours, theirs = steps.steps(THINNED[name]), golden[name]
            close(goldens, case, name, thinned(ours, theirs.shape)[kept], theirs[kept])
    for name, theirs in golden.items():
        match = OF_ONE_STEP.fullmatch(name)
        if match and int(match[2]) in kept:
            close(goldens, case, match[1], one_step(match[1], int(match[2]), steps, theirs), theirs)


def one_step(name: str, step: int, steps: StepRecorder, theirs: np.ndarray) -> np.ndarray:
    low_res = steps.steps("token0_low_res" if name.startswith("token0") else "low_res")[step]
    if name == "logits_orig":
        return resize_logits(torch.from_numpy(low_res)[None], *theirs.shape)[0].numpy()
    return thinned(low_res, theirs.shape)


def compare_result(
    goldens: GlusGoldens, case: dict[str, Any], result: Any, golden: dict[str, np.ndarray], kept: list[int]
) -> None:
    """What the public call returns; of a frame that is decoded twice, the later one."""
    rows = {
        frame: step
        for run in case["passes"]
        for frame, step in zip(run["video_frames"], range(*run["steps"]), strict=True)
    }
    pairs = [(frame, step) for frame, step in sorted(rows.items()) if step in kept]
    frames, steps = [frame for frame, _ in pairs], [step for _, step in pairs]
    said = golden["generated_id"][steps] == goldens.tokenizer.token_id("[SEG]")
    assert np.array_equal(result.seg_token_generated[0, frames], said)
    close(goldens, case, "seg_embed", result.seg_embeddings[0, frames], golden["seg_embed"][steps])
    theirs = golden["low_res_s8"][steps]
    close(goldens, case, "low_res_s8", thinned(result.logits[0, frames], theirs.shape), theirs)
    masks = unpacked(golden["masks_packed"], case["height_px"], case["width_px"])[steps]
    apart = masks_apart(result.masks[0, frames], masks)
    within(case["id"], "masks, 1 - IoU", apart, 1 - goldens.tolerance("inference", "masks_packed"))
    for frame, step in pairs:
        run = next(run for run in case["passes"] if step in range(*run["steps"]))
        read = [run["video_frames"][index] for index in case["memory_frames_per_step"][step]]
        assert result.memory_frame_indices[0][frame] == read, step


def compare_files(
    goldens: GlusGoldens, case: dict[str, Any], result: Any, golden: dict[str, np.ndarray], kept: list[int]
) -> None:
    """Which mask the published script leaves under which name, repeated by `published_sources`."""
    if len(kept) < case["passes"][-1]["steps"][1]:
        return
    record = json.loads((goldens.folder / case["expected"]["record"]).read_text())
    files = sorted(file for file in (goldens.folder / case["frames"]).iterdir() if file.suffix in PICTURE_SUFFIXES)
    names = [file.stem for file in files]
    written = [names.index(name.split(".")[0]) for name in record["files_written"]]
    sources = published_sources(case["num_frames"], case["anchor_frame"])
    assert [frame for frame, source in enumerate(sources) if source is not None] == sorted(written)
    ours = np.stack([result.masks[0, sources[frame]] for frame in written])
    theirs = unpacked(golden["written_png_packed"], case["height_px"], case["width_px"])
    apart = masks_apart(ours, theirs)
    within(case["id"], "written files, 1 - IoU", apart, 1 - goldens.tolerance("inference", "masks_packed"))


def close(goldens: GlusGoldens, case: dict[str, Any], name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    within(case["id"], name, largest(ours, theirs), goldens.tolerance("inference", ALLOWED.get(name, name)))
