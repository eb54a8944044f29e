"""What a window that answers for several frames costs: J&F by window stride, over the same expressions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glus.metrics.grouping import Grouped, by_family, percent
from glus.metrics.key_frames import compared_jf
from glus.metrics.scoring import ExpressionScore

WAY = "window_stride_"  # names of the comparisons, the stride behind


@dataclass(frozen=True)
class StrideScores:
    """J&F in percent, of the main predictions and with each other window stride.

    Attributes:
        num_expressions: that were predicted with all of them.
        main: J&F of the main predictions.
        strides: J&F by window stride.
    """

    num_expressions: int
    main: float
    strides: dict[str, float]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StrideScores:
        """What `to_json` wrote."""
        return cls(values["num_expressions"], values["main"], values["strides"])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"num_expressions": self.num_expressions, "main": self.main, "strides": self.strides}


def score_window_strides(scores: Iterable[ExpressionScore]) -> Grouped[StrideScores] | None:
    """J&F by window stride, of all and by family; None where nothing was predicted with another stride."""
    scores = list(scores)
    ways = sorted({way for score in scores for way in score.comparisons if way.startswith(WAY)})
    compared = [score for score in scores if ways and all(way in score.comparisons for way in ways)]
    if not compared:
        return None

    def average(some: Sequence[ExpressionScore]) -> StrideScores:
        strides = {way.removeprefix(WAY): percent(compared_jf(score, way) for score in some) for way in ways}
        return StrideScores(len(some), percent(score.jf for score in some), strides)

    return Grouped(average(compared), by_family(compared, lambda score: score.family, average))
