"""MOSEv2's scores of one object, as its scorer computes them (henghuiding/MOSE-api, MOSEv2/sam2_rcms/tools).

None of them is DAVIS's: J is smoothed by a pixel, F has a radius that follows the object's size, and the F that stands
beside it as the classical one has a radius that is not rounded up for large objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from glus.metrics.boundary import BOUND_TH, boundary_f_at_radii, disk_radius
from glus.metrics.spans import Clip, Spans, count_overlaps

NAME = "mosev2"
ADAPTIVE_TH = 0.1  # radius, as a share of the root of the object's area
COUNTED = slice(1, -1)  # the first frame, which is given, and the last are not scored


def measures(pred: Spans, gt: Spans, clip: Clip, missing: np.ndarray) -> dict[str, float]:
    """The scorer's seven numbers, by its own names behind `mose_`.

    Args:
        missing: bool [T], frames that score 0.

    Returns:
        0..1. `disappear` and `reappear` are left out where the object never does so between frames that count. All
        others are 0 where no frame counts.
    """
    overlaps = count_overlaps(pred, [gt], clip)
    j, f_new, f = smoothed_j(overlaps), *adaptive_f(pred, gt, clip, overlaps[:, :, 1].sum(axis=1))
    for values in (j, f_new, f):
        values[missing] = 0
    j, f_new, f = j[COUNTED], f_new[COUNTED], f[COUNTED]
    mean_j, mean_f_new, mean_f = (float(values.mean()) if len(values) else 0.0 for values in (j, f_new, f))
    found = {
        "mose_JF_new": (mean_j + mean_f_new) / 2,
        "mose_J": mean_j,
        "mose_F_new": mean_f_new,
        "mose_F": mean_f,
        "mose_JF": (mean_j + mean_f) / 2,
    }
    gone = overlaps[COUNTED, :, 1].sum(axis=1) == 0
    for name, wanted in (("disappear", True), ("reappear", False)):
        if stretches := list(returns(gone, wanted)):
            found[f"mose_{name}_JF_new"] = float(np.mean([(j[at].mean() + f_new[at].mean()) / 2 for at in stretches]))
    return found


def smoothed_j(overlaps: np.ndarray) -> np.ndarray:
    """(intersection + 1) / (union + 1) of each frame, 1 where both are empty; float64 [T].

    Args:
        overlaps: int64 [T, 2, 2], as `count_overlaps` gives them for one object.
    """
    intersection = overlaps[:, 1, 1]
    union = overlaps.sum(axis=(1, 2)) - overlaps[:, 0, 0]
    return (intersection + 1) / (union + 1)


def adaptive_f(pred: Spans, gt: Spans, clip: Clip, area_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F with the radius that follows the object, and the scorer's classical F; float64 [T] each.

    Args:
        area_px: of the true object in each frame.
    """
    whole = disk_radius(clip.height_px, clip.width_px, BOUND_TH)
    cap = BOUND_TH * float(np.linalg.norm((clip.height_px, clip.width_px)))
    wanted = np.where(area_px > 0, np.ceil(ADAPTIVE_TH * np.sqrt(area_px)), cap)
    is_small = wanted < cap
    classical = boundary_f_at_radii(pred, gt, clip, np.where(is_small, whole, cap))
    return boundary_f_at_radii(pred, gt, clip, np.minimum(wanted, cap)), classical


def returns(gone: np.ndarray, is_gone: bool) -> Iterator[slice]:
    """Stretches of frames in which the object is gone, or back again; none that holds from the first frame on.

    Args:
        gone: bool [T], of the frames that count.
    """
    edges = np.flatnonzero(gone[1:] != gone[:-1]) + 1
    for start, end in pairwise([*edges.tolist(), len(gone)]):
        if gone[start] == is_gone:
            yield slice(start, end)
