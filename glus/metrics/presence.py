"""When the target was found as well as where, and whether an answer is empty where there is no target.

tIoU and vIoU are Long-RVOS's (iSEE-Laboratory/Long_RVOS, eval_overall.py). The shares of empty answers are our own
definition: how MeViS v2 computes the N-acc and T-acc that it reports was not found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glus.metrics.grouping import percent
from glus.metrics.scoring import ExpressionScore

T_IOU, V_IOU = "tIoU", "vIoU"
ABSENT_EMPTY, PRESENT_ANSWERED = "absent_empty", "present_answered"


def temporal_iou(score: ExpressionScore) -> float:
    """Frames in which target and mask both are, over frames in which either is; 1 where there are none."""
    return _over_either(score, np.ones(len(score.j)))


def video_iou(score: ExpressionScore) -> float:
    """The sum of J over the frames in which both are, over the number of frames in which either is."""
    return _over_either(score, np.asarray(score.j))


def _over_either(score: ExpressionScore, values: np.ndarray) -> float:
    visible = np.asarray(score.target_px) > 0
    answered = np.array([bool(px) for px in score.predicted_px])
    # A frame that is missing counts as one that is answered wrongly, so that a missing video has 0.
    either = visible | answered | np.array([px is None for px in score.predicted_px])
    return float(values[visible & answered].sum() / either.sum()) if either.any() else 1.0


def has_target(score: ExpressionScore) -> bool:
    """Whether the target is to be seen in any frame."""
    return any(score.target_px)


def is_empty(score: ExpressionScore) -> bool:
    """Whether every frame is answered by an empty mask; one that is missing is not."""
    return all(px == 0 for px in score.predicted_px)


def presence(scores: Sequence[ExpressionScore]) -> dict[str, float]:
    """In percent, of expressions that were scored from masks; plain means whatever the protocol averages.

    Returns:
        `tIoU` and `vIoU`; `absent_empty`, the share of expressions without a target that are answered by empty masks
        alone, and `present_answered`, the share of those with a target that are answered by a mask in any frame, each
        where there are such expressions.
    """
    known = [score for score in scores if score.target_px]
    if not known:
        return {}
    absent = [is_empty(score) for score in known if not has_target(score)]
    present = [any(score.predicted_px) for score in known if has_target(score)]
    return {
        T_IOU: percent(map(temporal_iou, known)),
        V_IOU: percent(map(video_iou, known)),
        **({ABSENT_EMPTY: percent(absent)} if absent else {}),
        **({PRESENT_ANSWERED: percent(present)} if present else {}),
    }
