"""What a selector is worth on videos it was not trained on: L1, rank correlation, and what its key frames give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

SOURCES = ("first", "random", "selected", "oracle")  # of key frames
SMALLEST_GAP = 1.0  # points of J&F between first and oracle, below which there is nothing to close


@dataclass(frozen=True)
class ScoredExpression:
    """Scores and labels of one expression.

    Attributes:
        family: what the expression speaks of, where the set says so.
        text: the expression.
        scores: float [T].
        targets: float [T], IoU in 0..1.
        jf: source of the key frame -> J&F of the masks propagated from there, percent.
    """

    family: str | None
    text: str
    scores: np.ndarray
    targets: np.ndarray
    jf: Mapping[str, float]


def validate(scored: Sequence[ScoredExpression]) -> dict[str, Any]:
    """Metrics over all expressions, and the same for each family under `families`."""
    families = sorted({item.family for item in scored if item.family is not None})
    return {
        **_metrics(scored),
        "families": {name: _metrics([item for item in scored if item.family == name]) for name in families},
    }


def _metrics(scored: Sequence[ScoredExpression]) -> dict[str, Any]:
    """Means over expressions.

    `l1_constant` is the L1 of the best single number for all frames, what a selector that sees nothing reaches.
    `spearman` is taken within each expression and leaves those out whose labels are all equal (null if all are).
    `pseudo_iou` is the label at the key frame: the first frame, any frame (its mean), the selected and the best one;
    `regret` is what the selected one lacks of the best. `jf` is J&F in percent, propagated from the first, a drawn, the
    selected and the best labelled frame; `gap_closed` is the share of the way from first to oracle that the selection
    goes (null where there is none).
    """
    targets = np.concatenate([item.targets for item in scored])
    correlations = [rank_correlation(item.scores, item.targets) for item in scored if np.ptp(item.targets) > 0]
    pseudo_iou = {
        "first": float(np.mean([item.targets[0] for item in scored])),
        "random": float(np.mean([item.targets.mean() for item in scored])),
        "selected": float(np.mean([item.targets[select_key_frame(item.scores)] for item in scored])),
        "oracle": float(np.mean([item.targets.max() for item in scored])),
    }
    jf = {source: float(np.mean([item.jf[source] for item in scored])) for source in SOURCES}
    return {
        "num_expressions": len(scored),
        "l1": float(np.mean([np.abs(item.scores - item.targets).mean() for item in scored])),
        "l1_constant": float(np.abs(targets - np.median(targets)).mean()),
        "spearman": float(np.mean(correlations)) if correlations else None,
        "pseudo_iou": pseudo_iou,
        "regret": pseudo_iou["oracle"] - pseudo_iou["selected"],
        "jf": jf,
        "gap_closed": gap_closed(jf),
    }


def gap_closed(jf: Mapping[str, float]) -> float | None:
    """Share of the J&F between first and oracle key frame that the selected one reaches; None where both are alike."""
    gap = jf["oracle"] - jf["first"]
    return (jf["selected"] - jf["first"]) / gap if gap >= SMALLEST_GAP else None


def rank_correlation(scores: np.ndarray, targets: np.ndarray) -> float:
    """Spearman's correlation, ties at their mean rank; 0 for scores that are all equal, which rank nothing."""
    if np.ptp(scores) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(scores), rankdata(targets))[0, 1])


def select_key_frame(scores: np.ndarray) -> int:
    """The frame with the largest score; ties go to the earliest (B.4)."""
    return int(np.argmax(scores))
