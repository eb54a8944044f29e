"""What it is worth to answer by empty masks where the model is unsure: a threshold on the mean logit of its masks.

The mean logit of an expression is that of all pixels in its masks, in the decoder's resolution: low where a mask barely
holds together. Below the threshold the whole answer is replaced by empty masks. Our own ablation; nothing of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glus.metrics.grouping import percent
from glus.metrics.presence import has_target, is_empty
from glus.metrics.scoring import ExpressionScore

THRESHOLDS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # 0: every mask stays, as the logits of its pixels are above 0


@dataclass(frozen=True)
class ThresholdScores:
    """In percent, plain means over expressions.

    Attributes:
        threshold: of the mean logit.
        jf: J&F.
        absent_empty: expressions without a target that are answered by empty masks alone.
        present_answered: expressions with a target that are answered by a mask in any frame.
    """

    threshold: float
    jf: float
    absent_empty: float
    present_answered: float

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ThresholdScores:
        """What `to_json` wrote."""
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def score_thresholds(scores: Sequence[ExpressionScore]) -> list[ThresholdScores]:
    """Scores at each threshold; none where every expression has a target, or none has: nothing is to be traded then."""
    absent = [score for score in scores if not has_target(score)]
    present = [score for score in scores if has_target(score)]
    if not absent or not present:
        return []
    return [
        ThresholdScores(
            threshold,
            percent(_jf(score, threshold) for score in scores),
            percent(_is_empty(score, threshold) for score in absent),
            percent(not _is_empty(score, threshold) for score in present),
        )
        for threshold in THRESHOLDS
    ]


def _is_empty(score: ExpressionScore, threshold: float) -> bool:
    return is_empty(score) or (score.mean_logit is not None and score.mean_logit < threshold)


def _jf(score: ExpressionScore, threshold: float) -> float:
    return float(np.mean(score.baselines["empty"])) if _is_empty(score, threshold) else score.jf
