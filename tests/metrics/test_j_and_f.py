"""J and F against the published goldens and against their plain definition."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glus.masks import decode_rle
from glus.metrics import boundary_f, jaccard
from glus.metrics.boundary import disk_radius


def plain_boundary(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    boundary = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if y == height - 1 or x == width - 1:
                neighbours = [(y, x + 1)] if y == height - 1 else [(y + 1, x)]
            boundary[y, x] = any(v < height and u < width and mask[v, u] != mask[y, x] for v, u in neighbours)
    return boundary


def plain_f(pred: np.ndarray, gt: np.ndarray, radius: float) -> float:
    ours, theirs = (list(zip(*np.nonzero(plain_boundary(mask)), strict=True)) for mask in (pred, gt))
    if not ours or not theirs:
        return float(not ours and not theirs)

    def matched(points: list, others: list) -> float:
        near = [any((y - v) ** 2 + (x - u) ** 2 <= radius**2 for v, u in others) for y, x in points]
        return sum(near) / len(near)

    precision, recall = matched(ours, theirs), matched(theirs, ours)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def plain_j(pred: np.ndarray, gt: np.ndarray) -> float:
    return (pred & gt).sum() / (pred | gt).sum() if (pred | gt).any() else 1.0


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of up to three words' width: noise, or rectangles that may touch the border."""
    shape = draw(st.tuples(st.integers(1, 14), st.sampled_from([1, 2, 9, 63, 64, 65, 130])))

    def mask() -> np.ndarray:
        if draw(st.booleans()):
            return draw(hnp.arrays(bool, shape))
        ys = sorted(draw(st.tuples(st.integers(0, shape[0]), st.integers(0, shape[0]))))
        xs = sorted(draw(st.tuples(st.integers(0, shape[1]), st.integers(0, shape[1]))))
        result = np.zeros(shape, dtype=bool)
        result[ys[0] : ys[1], xs[0] : xs[1]] = True
        return result

    return mask(), mask()


@settings(max_examples=80, deadline=None)
@given(mask_pairs(), st.sampled_from([0.008, 0.1, 1, 2, 3, 5, 20]))
def test_equals_the_plain_definition(pair: tuple[np.ndarray, np.ndarray], bound_th: float) -> None:
    pred, gt = pair
    radius = bound_th if bound_th >= 1 else math.ceil(bound_th * math.hypot(*gt.shape))
    assert jaccard(pred[None], gt[None])[0] == plain_j(pred, gt)
    assert boundary_f(pred[None], gt[None], bound_th=bound_th)[0] == pytest.approx(plain_f(pred, gt, radius), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(mask_pairs())
def test_symmetric_and_transposable(pair: tuple[np.ndarray, np.ndarray]) -> None:
    pred, gt = pair[0][None], pair[1][None]
    for score in (jaccard, boundary_f):
        assert score(pred, gt) == pytest.approx(score(gt, pred), abs=1e-12)
        assert score(pred, gt) == pytest.approx(score(pred.swapaxes(1, 2), gt.swapaxes(1, 2)), abs=1e-12)
        assert score(gt, gt) == [1.0]


def test_goldens(shared: Path) -> None:
    pairs = json.loads((shared / "goldens/metrics/pairs/pairs.json").read_text())["pairs"]
    for pair in pairs:

        def decode(name: str, pair: dict = pair) -> np.ndarray | None:
            return decode_rle(pair[name]["counts"], *pair[name]["size"])[None] if pair.get(name) else None

        pred, gt, void = decode("pred"), decode("gt"), decode("void")
        bound_th = pair.get("bound_th", 0.008)
        assert jaccard(pred, gt, void)[0] == pytest.approx(pair["expect"]["J"], abs=1e-12), pair["id"]
        assert boundary_f(pred, gt, void, bound_th)[0] == pytest.approx(pair["expect"]["F"], abs=1e-12), pair["id"]
        assert disk_radius(*gt.shape[1:], bound_th) == pair["expect"]["radius"], pair["id"]
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
