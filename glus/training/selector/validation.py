"""What a selector is worth on videos it was not trained on: L1, rank correlation, and what its key frames give."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from glus.metrics.by_key_frame import ByKeyFrame
from glus.metrics.grouping import Grouped, by_family


@dataclass(frozen=True)
class ScoredExpression:
    """Scores and labels of one expression.

    Attributes:
        family: what the expression speaks of, where the set says so.
        text: the expression.
        scores: float [T].
        targets: float [T], IoU in 0..1.
        jf: J&F in percent of the masks by the key frame that they are propagated from.
    """

    family: str | None
    text: str
    scores: np.ndarray
    targets: np.ndarray
    jf: ByKeyFrame


@dataclass(frozen=True)
class SelectorMetrics:
    """Means over expressions.

    Attributes:
        l1: between scores and labels.
        l1_constant: of the best single number for all frames: what a selector that sees nothing reaches.
        spearman: within each expression, without those whose labels are all equal; None if all are.
        pseudo_iou: the label at the key frame: the first frame, any frame (its mean), the selected and the best one.
        jf: J&F in percent, propagated from the first, a drawn, the selected and the best labelled frame.
    """

    num_expressions: int
    l1: float
    l1_constant: float
    spearman: float | None
    pseudo_iou: ByKeyFrame
    jf: ByKeyFrame

    def to_json(self) -> dict[str, Any]:
        """Plain data; `regret` is of `pseudo_iou`, `gap_closed` of `jf`."""
        return {**asdict(self), "regret": self.pseudo_iou.regret, "gap_closed": self.jf.gap_closed}


def validate(scored: Sequence[ScoredExpression]) -> Grouped[SelectorMetrics]:
    """Metrics over all expressions, and of each family."""
    return Grouped(_metrics(scored), by_family(scored, lambda item: item.family, _metrics))


def _metrics(scored: Sequence[ScoredExpression]) -> SelectorMetrics:
    targets = np.concatenate([item.targets for item in scored])
    correlations = [rank_correlation(item.scores, item.targets) for item in scored if np.ptp(item.targets) > 0]
    return SelectorMetrics(
        num_expressions=len(scored),
        l1=_mean(np.abs(item.scores - item.targets).mean() for item in scored),
        l1_constant=float(np.abs(targets - np.median(targets)).mean()),
        spearman=_mean(correlations) if correlations else None,
        pseudo_iou=ByKeyFrame(
            first=_mean(item.targets[0] for item in scored),
            random=_mean(item.targets.mean() for item in scored),
            selected=_mean(item.targets[select_key_frame(item.scores)] for item in scored),
            oracle=_mean(item.targets.max() for item in scored),
        ),
        jf=ByKeyFrame(
            first=_mean(item.jf.first for item in scored),
            random=_mean(item.jf.random for item in scored),
            selected=_mean(item.jf.selected for item in scored),
            oracle=_mean(item.jf.oracle for item in scored),
        ),
    )


def _mean(values: Iterable[Any]) -> float:
    return float(np.mean([*values]))


def rank_correlation(scores: np.ndarray, targets: np.ndarray) -> float:
    """Spearman's correlation, ties at their mean rank; 0 for scores that are all equal, which rank nothing."""
    if np.ptp(scores) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(scores), rankdata(targets))[0, 1])


def select_key_frame(scores: np.ndarray) -> int:
    """The frame with the largest score; ties go to the earliest (B.4)."""
    return int(np.argmax(scores))
