"""Whole videos through `segment_video`: embeddings, logits, memory and masks of the published inference."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from glus import GLUS, segment_video
from glus.data.frames import load_frames
from tests.parity.conftest import GlusGoldens
from tests.parity.differences import within


def golden_cases() -> list:
    """Every inference case of the folder that GLUS_SHARED names; one of each kind runs by default."""
    import os

    root = Path(os.environ.get("GLUS_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    listing = root / "goldens/glus/cases.json"
    cases = json.loads(listing.read_text())["inference"] if listing.is_file() else []
    seen, marked = set(), []
    for case in cases:
        kind = (case["use_memory"], case["memory_stride"], case["anchor_frame"] is None, bool(case["missed_steps"]))
        marks = [] if kind not in seen else [pytest.mark.every_case]
        seen.add(kind)
        marked.append(pytest.param(case, id=case["id"], marks=marks))
    return marked or [pytest.param(None, marks=pytest.mark.skip(reason=f"no inference cases in {listing}"))]


@pytest.fixture(scope="module")
def models(goldens: GlusGoldens) -> dict[str, GLUS]:
    torch.set_num_threads(1)
    model = goldens.cases["model"]
    return {
        gamma: GLUS.from_pretrained(
            goldens.folder / model["checkpoint"],
            vision_tower=goldens.folder / model["clip"],
            sam2_config=str(goldens.folder / model["sam2_config"]),
            load_gamma=gamma == "kept",
        )
        for gamma in ("lost", "kept")
    }


@pytest.mark.parametrize("case", golden_cases())
def test_a_video(goldens: GlusGoldens, models: dict[str, GLUS], case: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = goldens.arrays(case["expected"]["arrays"])
    tolerances = {name: entry["tolerance"] for name, entry in goldens.cases["tolerances"]["inference"].items()}
    model = models[case["gamma"]]
    frames = load_frames(goldens.folder / case["frames"])
    with monkeypatch.context() as patch:
        if case["missed_steps"]:
            patch.setattr(model, "seg_logits", misses(model, case["missed_steps"]))
        result = segment_video(
            model,
            frames,
            [case["expression"]],
            anchor=case["anchor_frame"],
            use_memory=case["use_memory"],
            memory_stride=case["memory_stride"] or 3,
        )
    assert result.context_frame_indices == case["context_frames"]
    steps, indices = last_decoded(case)
    assert np.array_equal(result.seg_token_generated[0, indices], golden["generated_id"][steps] == model.seg_id)
    embeddings = close(result.seg_embeddings[0, indices], golden["seg_embed"][steps])
    within(case["id"], "[SEG] embedding", embeddings, tolerances["seg_embed"])
    logits = close(result.logits[0, indices][:, ::8, ::8], golden["low_res_s8"][steps])
    within(case["id"], "low-resolution logits", logits, tolerances["low_res_s8"])
    height, width = case["height_px"], case["width_px"]
    bits = np.unpackbits(golden["masks_packed"], axis=1)[:, : height * width]
    masks = bits.reshape(-1, height, width).astype(bool)[steps]
    for ours, theirs in zip(result.masks[0, indices], masks, strict=True):
        union = (ours | theirs).sum()
        within(case["id"], "masks, 1 - IoU", float((ours ^ theirs).sum() / union) if union else 0.0, 1e-3)
    for index, step in zip(indices, steps, strict=True):
        frames_of_pass = next(p for p in case["passes"] if p["steps"][0] <= step < p["steps"][1])["video_frames"]
        expected = [frames_of_pass[position] for position in case["memory_frames_per_step"][step]]
        assert result.memory_frame_indices[0][index] == expected


def last_decoded(case: dict) -> tuple[list[int], list[int]]:
    """Rows of the golden arrays and the video frames that they hold; a frame that is decoded twice counts once."""
    rows: dict[int, int] = {}
    for run in case["passes"]:
        for frame, step in zip(run["video_frames"], range(*run["steps"]), strict=True):
            rows[frame] = step
    fragile = {step for step, _ in case["fragile_steps"]}
    kept = [(step, frame) for frame, step in sorted(rows.items()) if step not in fragile]
    return [step for step, _ in kept], [frame for _, frame in kept]


def close(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest absolute difference; missed frames are NaN in both."""
    assert np.array_equal(np.isnan(ours), np.isnan(theirs))
    return float(np.nanmax(np.abs(ours - theirs)))


def misses(model: GLUS, steps: list[int]):
    """Next-token logits in which [SEG] does not win at some steps of a pass with one expression."""
    original = model.seg_logits

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        values = original(hidden)
        values[steps, model.seg_id] = -torch.inf
        return values

    return logits
