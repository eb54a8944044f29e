"""J, the region score: intersection over union per frame, of masks or straight from run lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from glus.errors import InputError
from glus.metrics.spans import Clip, Spans, count_overlaps, read_spans

Rle = dict[str, Any]  # {"size": [height, width], "counts": compressed run lengths}, as COCO writes them


def jaccard(pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None) -> np.ndarray:
    """J of each frame, as the official DAVIS scorer computes it (paper 5.1).

    Args:
        pred: predicted masks, bool [T, H, W].
        gt: ground-truth masks, bool [T, H, W].
        void: pixels that do not count, bool [T, H, W].

    Returns:
        float64 [T], 0..1; 1 where both masks are empty.

    Raises:
        ValueError: the shapes differ, or an array is not bool [T, H, W].
    """
    pred, gt = comparable(pred, gt, void)
    frames = list(zip(pred, gt, strict=True))
    intersection = np.array([np.count_nonzero(p & g) for p, g in frames], dtype=np.int64)
    total = np.array([np.count_nonzero(p) + np.count_nonzero(g) for p, g in frames], dtype=np.int64)
    return _ratio(intersection, total - intersection)


def jaccard_rle(pred: Sequence[Rle | Sequence[Rle] | None], gt: Sequence[Rle | Sequence[Rle] | None]) -> np.ndarray:
    """J of each frame straight from run lengths, equal to `jaccard` of the decoded masks.

    Args:
        pred: T predicted masks in COCO's compressed form, all of one size; None is an empty mask, and several masks of
            a frame are united.
        gt: T ground-truth masks, likewise; a list is the union of its annotations.

    Returns:
        float64 [T], 0..1; 1 where both masks are empty.

    Raises:
        InputError: broken run lengths, runs that do not add up to the frame's pixels, or masks of two sizes.
        ValueError: the numbers of frames differ.
    """
    if len(pred) != len(gt):
        raise ValueError(f"pred has {len(pred)} frames, gt has {len(gt)}")
    sizes = {tuple(rle["size"]) for entry in (*pred, *gt) for rle in _parts(entry)}
    if not sizes:
        return np.ones(len(gt))
    if len(sizes) > 1:
        raise InputError(f"masks of {len(sizes)} sizes cannot be compared: {', '.join(map(str, sorted(sizes)))}")
    clip = Clip(len(gt), *sizes.pop())
    return jaccard_of_spans(read_spans(_masks(pred), clip), read_spans(_masks(gt), clip), clip)


def _parts(entry: Rle | Sequence[Rle] | None) -> Sequence[Rle]:
    return (entry,) if isinstance(entry, dict) else entry or ()


def _masks(track: Sequence[Rle | Sequence[Rle] | None]) -> Iterator[tuple[int, str]]:
    for index, entry in enumerate(track):
        for rle in _parts(entry):
            counts = rle["counts"]
            yield index, counts.decode("latin-1") if isinstance(counts, bytes) else counts


def jaccard_of_spans(pred: Spans, gt: Spans, clip: Clip) -> np.ndarray:
    """J of each frame of tracks that are read from run lengths, float64 [T]."""
    return jaccard_of_overlaps(count_overlaps(pred, [gt], clip))


def jaccard_of_overlaps(overlaps: np.ndarray) -> np.ndarray:
    """J of each frame, float64 [T], from `count_overlaps`; the ground truth is the union of the annotations."""
    intersection = overlaps[:, 1, 1:].sum(axis=1)
    return _ratio(intersection, overlaps.sum(axis=(1, 2)) - overlaps[:, 0, 0])


def _ratio(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    return np.divide(intersection, union, out=np.ones(len(union)), where=union > 0)


def comparable(pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Checks that masks can be compared and takes the void pixels out of both.

    Raises:
        ValueError: the shapes differ, or an array is not bool [T, H, W].
    """
    for name, masks in (("pred", pred), ("gt", gt), ("void", void)):
        if masks is not None and (masks.dtype != bool or masks.ndim != 3 or masks.shape != gt.shape):
            raise ValueError(
                f"{name} is {masks.dtype} {list(masks.shape)}; pred, gt and void must be bool [T, H, W] of one shape"
                f" (gt: {list(gt.shape)})"
            )
    return (pred, gt) if void is None else (pred & ~void, gt & ~void)
