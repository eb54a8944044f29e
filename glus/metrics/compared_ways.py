"""J&F of the same expressions, predicted in several ways of one kind: with other window strides, after fewer steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glus.metrics.grouping import Grouped, by_family, percent
from glus.metrics.key_frames import compared_jf
from glus.metrics.scoring import ExpressionScore

# kinds: names of the comparisons, a number behind
WINDOW_STRIDE = "window_stride_"
TRAINING_STEP = "training_step_"


@dataclass(frozen=True)
class WayScores:
    """J&F in percent, of the main predictions and of each other way.

    Attributes:
        num_expressions: that were predicted in all of them.
        main: J&F of the main predictions.
        ways: J&F by window stride, or by training step.
    """

    num_expressions: int
    main: float
    ways: dict[str, float]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> WayScores:
        """What `to_json` wrote."""
        return cls(values["num_expressions"], values["main"], values["ways"])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"num_expressions": self.num_expressions, "main": self.main, "ways": self.ways}


def score_ways(scores: Iterable[ExpressionScore], kind: str) -> Grouped[WayScores] | None:
    """J&F by the ways of a kind, of all and by family; None where nothing was predicted in one."""
    scores = list(scores)
    names = {way for score in scores for way in score.comparisons if way.startswith(kind)}
    ways = sorted(names, key=lambda way: int(way.removeprefix(kind)))
    compared = [score for score in scores if ways and all(way in score.comparisons for way in ways)]
    if not compared:
        return None

    def average(some: Sequence[ExpressionScore]) -> WayScores:
        found = {way.removeprefix(kind): percent(compared_jf(score, way) for score in some) for way in ways}
        return WayScores(len(some), percent(score.jf for score in some), found)

    return Grouped(average(compared), by_family(compared, lambda score: score.family, average))
