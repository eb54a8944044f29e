"""R and A, ReVOS's robustness and pixel accuracy, as its script prints them and as they are meant.

The script (ReVOS-api, read) computes with raw pixel values: the ground truth is the sum of an expression's annotations
in 8 bits, so that it reaches 2 where two of them overlap, and a prediction file holds 0 and 255 or 0 and 1. With 255 a
false positive weighs 255-fold, and what is predicted right counts as unequal. So each number carries its reading:

* `pred255`: prediction files of 0 and 255; the papers' low R fit this one (inferred).
* `pred01`: prediction files of 0 and 1.
* `boolean`: the formula on masks, the ground truth being the union.
"""

from __future__ import annotations

import numpy as np

VALUES = {"pred255": 255, "pred01": 1}  # of a predicted pixel
_LEVELS = 256  # of 8 bits
_EPSILON_PX = 1e-6


def robustness(overlaps: np.ndarray, foreground_px: np.ndarray) -> dict[str, np.ndarray]:
    """R = max(0, 1 - |prediction outside the ground truth| / |foreground|) and A, the share of equal pixels.

    Args:
        overlaps: int64 [T, 2, K + 1], pixels by prediction and by number of annotations (`count_overlaps`).
        foreground_px: int64 [T], the union of all objects that any expression of the video means.

    Returns:
        `R_<reading>` and `A_<reading>`, float64 [T] each, 0..1. Without foreground R is 1 where nothing is predicted
        outside the ground truth, else 0.
    """
    empty, pred = overlaps[:, 0], overlaps[:, 1]
    depth = np.arange(overlaps.shape[-1])
    frame_px = overlaps.sum(axis=(1, 2))
    result = {}
    for reading, value in VALUES.items():
        weights = (1 - depth) * value % _LEVELS  # wraps where annotations overlap, as 8 bits do
        result[f"R_{reading}"] = _robust(pred @ weights, foreground_px)
        result[f"A_{reading}"] = (empty[:, 0] + pred[:, depth == value].sum(axis=1)) / frame_px
    result["R_boolean"] = _robust(pred[:, 0], foreground_px)
    result["A_boolean"] = (empty[:, 0] + pred[:, 1:].sum(axis=1)) / frame_px
    return result


def _robust(false_positives: np.ndarray, foreground_px: np.ndarray) -> np.ndarray:
    return np.maximum(1 - false_positives / (foreground_px + _EPSILON_PX), 0)
