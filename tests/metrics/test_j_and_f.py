"""J and F, of masks and straight from run lengths, against the published goldens and against their plain definition."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from glus.errors import InputError
from glus.masks import decode_rle, encode_rle
from glus.metrics import boundary_f, boundary_matches, jaccard, jaccard_rle
from glus.metrics.boundary import boundary_matches_of_spans, disk_radius
from glus.metrics.region import jaccard_of_spans
from glus.metrics.spans import Clip, read_spans, subtract, unite


def plain_boundary(mask: np.ndarray) -> np.ndarray:
    """A pixel whose right, lower or lower-right neighbour differs; the last row and column look along themselves."""
    boundary = np.zeros_like(mask)
    boundary[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    boundary[:-1] |= mask[:-1] != mask[1:]
    boundary[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return boundary


def plain_matches(pred: np.ndarray, gt: np.ndarray, radius: float) -> tuple[int, int, int, int]:
    """Boundary pixels of prediction and ground truth, and how many of each lie near the other's."""
    ours, theirs = plain_boundary(pred), plain_boundary(gt)

    def near(boundary: np.ndarray) -> np.ndarray:
        if not boundary.any():
            return boundary
        rows, columns = ndimage.distance_transform_edt(~boundary, return_distances=False, return_indices=True)
        y, x = np.indices(boundary.shape)
        return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2

    return ours.sum(), theirs.sum(), (ours & near(theirs)).sum(), (theirs & near(ours)).sum()


def plain_f(num_pred: int, num_gt: int, pred_matched: int, gt_matched: int) -> float:
    if not num_pred or not num_gt:
        return float(not num_pred and not num_gt)
    precision, recall = pred_matched / num_pred, gt_matched / num_gt
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_j(pred: np.ndarray, gt: np.ndarray) -> float:
    return (pred & gt).sum() / (pred | gt).sum() if (pred | gt).any() else 1.0


SIDES = st.sampled_from([1, 2, 3, 9, 17, 63, 64, 65, 127, 128, 129])
SHAPES = st.tuples(SIDES, SIDES)


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, int]) -> np.ndarray:
    """Noise, a rectangle that may touch the border or fill the frame, a disk, a single pixel, or nothing."""
    height, width = shape
    kind = draw(st.sampled_from(["noise", "rectangle", "disk", "pixel", "full", "empty"]))
    if kind == "noise":
        density = draw(st.sampled_from([0.02, 0.5, 0.98]))
        return np.random.default_rng(draw(st.integers(0, 1000))).random(shape) < density
    result = np.full(shape, kind == "full")
    y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    if kind == "rectangle":
        result[y : draw(st.integers(y, height)), x : draw(st.integers(x, width))] = True
    elif kind == "pixel":
        result[y, x] = True
    elif kind == "disk":
        rows, columns = np.indices(shape)
        result = (rows - y) ** 2 + (columns - x) ** 2 <= draw(st.integers(1, 40)) ** 2
    return result


@st.composite
def clips(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and ground truth, bool [T, H, W] each."""
    shape, num_frames = draw(SHAPES), draw(st.integers(1, 3))
    pred, gt = ([draw(masks(shape)) for _ in range(num_frames)] for _ in range(2))
    return np.stack(pred), np.stack(gt)


def rle(mask: np.ndarray) -> dict:
    return {"size": list(mask.shape), "counts": encode_rle(mask)}


@settings(max_examples=120)
@given(clips(), st.sampled_from([0.008, 0.1, 1, 1.5, 2, 3, 5, 20]))
def test_equals_the_plain_definition(clip: tuple[np.ndarray, np.ndarray], bound_th: float) -> None:
    pred, gt = clip
    radius = bound_th if bound_th >= 1 else math.ceil(bound_th * math.hypot(*gt.shape[1:]))
    expected = [plain_matches(p, g, radius) for p, g in zip(pred, gt, strict=True)]
    assert jaccard(pred, gt).tolist() == [plain_j(p, g) for p, g in zip(pred, gt, strict=True)]
    assert boundary_f(pred, gt, bound_th=bound_th) == pytest.approx([plain_f(*frame) for frame in expected], abs=1e-12)
    found = boundary_matches(pred, gt, bound_th=bound_th)
    counts = zip(found.num_pred, found.num_gt, found.pred_matched, found.gt_matched, strict=True)
    assert list(counts) == expected


@settings(max_examples=80)
@given(clips(), st.data())
def test_run_lengths_give_the_same_without_decoding(clip: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    pred, gt = clip
    other = np.stack([data.draw(masks(gt.shape[1:])) for _ in gt])
    united = [[rle(a), rle(b)] for a, b in zip(gt, other, strict=True)]
    assert jaccard_rle([rle(mask) for mask in pred], united).tolist() == jaccard(pred, gt | other).tolist()
    size = Clip(*gt.shape)
    of_pred, of_gt, of_other = (
        read_spans([(index, encode_rle(mask)) for index, mask in enumerate(track)], size) for track in (pred, gt, other)
    )
    for target, spans in (
        (gt, of_gt),
        (gt | other, unite([of_gt, of_other])),
        (gt & ~other, subtract(of_gt, [of_other])),
    ):
        assert jaccard_of_spans(of_pred, spans, size).tolist() == jaccard(pred, target).tolist()
        assert boundary_matches_of_spans(of_pred, spans, size).f.tolist() == boundary_f(pred, target).tolist()


@settings(max_examples=60)
@given(clips())
def test_symmetric_and_transposable(clip: tuple[np.ndarray, np.ndarray]) -> None:
    pred, gt = clip
    for score in (jaccard, boundary_f):
        assert score(pred, gt) == pytest.approx(score(gt, pred), abs=1e-12)
        assert score(pred, gt).tolist() == score(pred.swapaxes(1, 2), gt.swapaxes(1, 2)).tolist()
        assert score(gt, gt).tolist() == [1.0] * len(gt)


def test_goldens(shared: Path) -> None:
    source = shared / "goldens/metrics/pairs/pairs.json"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    pairs = json.loads(source.read_text())["pairs"]
    for pair in pairs:

        def decode(name: str, pair: dict = pair) -> np.ndarray | None:
            return decode_rle(pair[name]["counts"], *pair[name]["size"])[None] if pair.get(name) else None

        pred, gt, void = decode("pred"), decode("gt"), decode("void")
        bound_th, expected = pair.get("bound_th", 0.008), pair["expect"]
        found = boundary_matches(pred, gt, void, bound_th)
        assert {
            "J": jaccard(pred, gt, void)[0],
            "F": boundary_f(pred, gt, void, bound_th)[0],
            "precision": found.precision[0],
            "recall": found.recall[0],
            "radius": disk_radius(*gt.shape[1:], bound_th),
            "n_pred": found.num_pred[0],
            "n_gt": found.num_gt[0],
            "pred_match": found.pred_matched[0],
            "gt_match": found.gt_matched[0],
        } == pytest.approx(expected, abs=1e-12), pair["id"]
        if void is None:
            assert jaccard_rle([pair["pred"]], [pair["gt"]])[0] == pytest.approx(expected["J"], abs=1e-12), pair["id"]
    assert pairs


def test_a_clip_in_chunks_equals_its_frames() -> None:
    random = np.random.default_rng(0)
    pred, gt = random.random((2, 40, 200, 300)) < 0.001
    assert boundary_f(pred, gt, bound_th=4).tolist() == [
        boundary_f(p[None], g[None], bound_th=4)[0] for p, g in zip(pred, gt, strict=True)
    ]
    assert boundary_f(pred[:0], gt[:0]).shape == (0,)


def test_void_pixels_do_not_count() -> None:
    gt = np.zeros((1, 20, 20), dtype=bool)
    gt[0, 5:10, 5:10] = True
    pred = gt.copy()
    pred[0, 12:15, 12:15] = True
    void = np.zeros_like(gt)
    void[0, 11:, 11:] = True
    assert jaccard(pred, gt)[0] == 25 / 34
    assert jaccard(pred, gt, void) == boundary_f(pred, gt, void) == [1.0]


@pytest.mark.parametrize("wrong", [np.zeros((1, 4, 5), dtype=bool), np.zeros((1, 4, 4), dtype=np.uint8)])
def test_refuses_masks_that_cannot_be_compared(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pred is .*must be bool"):
        jaccard(wrong, np.zeros((1, 4, 4), dtype=bool))


FULL = {"size": [2, 3], "counts": "06"}


def test_absent_masks_are_empty() -> None:
    assert jaccard_rle([None, None, FULL, []], [None, FULL, FULL, [FULL]]).tolist() == [1, 0, 1, 0]
    assert jaccard_rle([None], [[]]).tolist() == [1]
    assert jaccard_rle([], []).shape == (0,)


def test_runs_of_no_length_are_allowed() -> None:
    split = {"size": [2, 3], "counts": "130O"}  # 1 zero, 3 ones, 0 zeros, 2 ones
    assert decode_rle("130O", 2, 3).sum() == 5
    assert jaccard_rle([split], [FULL])[0] == 5 / 6


@pytest.mark.parametrize(
    ("pred", "words"),
    [
        (
            [FULL, {"size": [2, 3], "counts": "05"}],
            "frame 1 cannot be used: runs add up to 5 pixels, expected 2 x 3 = 6",
        ),
        ([FULL, {"size": [2, 3], "counts": b"0 6"}], "frame 1 cannot be used: invalid character ' '"),
        ([FULL, {"size": [3, 2], "counts": "06"}], r"masks of 2 sizes cannot be compared: \(2, 3\), \(3, 2\)"),
    ],
)
def test_refuses_broken_run_lengths(pred: list, words: str) -> None:
    with pytest.raises(InputError, match=words):
        jaccard_rle(pred, [None, FULL])
    with pytest.raises(ValueError, match="pred has 2 frames, gt has 1"):
        jaccard_rle(pred, [None])
