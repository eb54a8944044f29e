"""J, the region score: intersection over union per frame."""

from __future__ import annotations

import numpy as np


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
    intersection = np.array([np.count_nonzero(p & g) for p, g in zip(pred, gt, strict=True)], dtype=np.float64)
    total = np.array([np.count_nonzero(p) + np.count_nonzero(g) for p, g in zip(pred, gt, strict=True)])
    union = total - intersection
    return np.divide(intersection, union, out=np.ones_like(union), where=union > 0)


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
