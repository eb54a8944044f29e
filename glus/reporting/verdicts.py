"""What the numbers say: the lines of the tables in order, and whether a family is above what ignores the words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic

from glus.metrics.compared_ways import WayScores
from glus.metrics.failures import Failure, Losses
from glus.metrics.grouping import Grouped, R
from glus.metrics.key_frames import KeyFrameRegret
from glus.metrics.results import Scores
from glus.metrics.scoring import SHUFFLED, TRIVIAL_BASELINES
from glus.reporting.grey_frames import GREY_COMPARISONS

LEARNED_MARGIN = 5.0  # points of J&F above the best trivial baseline, below which nothing is claimed
ALL = "all"  # the line that stands for all expressions

BASELINE_TITLES = {
    "empty": "empty",
    "union_of_objects": "union",
    "random_object": "random",
    "largest_object": "largest",
    SHUFFLED: "shuffled",
}
FAILURE_TITLES = {
    Failure.BOUNDARY: "boundary",
    Failure.EXTENT: "wrong extent",
    Failure.WRONG_OBJECT: "wrong object",
    Failure.MISSED: "missed frames",
    Failure.EMPTY: "empty answer",
    Failure.FALSE_ALARM: "false alarm",
}
KEY_FRAME_TITLES = {
    "first": "first frame",
    "random": "random frame",
    "selected": "selected frame",
    "oracle": "oracle",
}


@dataclass(frozen=True)
class Row(Generic[R]):
    """One line of a table: a family's result, or that of all expressions."""

    name: str
    result: R


def family_rows(scores: Grouped[Scores]) -> list[Row[Scores]]:
    """The families, best first, then all expressions together."""
    return _rows(scores, lambda row: -row.jf)


def failure_rows(losses: Grouped[Losses]) -> list[Row[Losses]]:
    """The families, least lost first, then all expressions together."""
    return _rows(losses, lambda row: row.lost)


def way_rows(ways: Grouped[WayScores]) -> list[Row[WayScores]]:
    """Families and all, J&F by way."""
    return _rows(ways, lambda row: -row.main)


def regret_rows(regret: Grouped[KeyFrameRegret]) -> list[Row[KeyFrameRegret]]:
    """The families, best first, then all expressions together."""
    return _rows(regret, lambda row: -row.jf.selected)


def _rows(grouped: Grouped[R], order: Callable[[R], float]) -> list[Row[R]]:
    families = sorted(grouped.groups.items(), key=lambda item: order(item[1]))
    return [Row(name, result) for name, result in [*families, (ALL, grouped.overall)]]


def best_trivial(scores: Scores) -> float:
    """J&F of the best baseline that ignores the words."""
    return max((scores.baselines[name] for name in TRIVIAL_BASELINES if name in scores.baselines), default=0.0)


def is_learned(scores: Scores) -> bool:
    """Whether the model clearly beats everything that ignores the words; nothing is claimed without baselines."""
    judged = any(name in scores.baselines for name in TRIVIAL_BASELINES)
    return judged and scores.jf >= best_trivial(scores) + LEARNED_MARGIN


@dataclass(frozen=True)
class ComparisonRow:
    """One comparison on the grey frames, J in percent."""

    title: str
    without_title: str
    without: float
    with_title: str
    with_: float

    @property
    def gain(self) -> float:
        """Points gained."""
        return self.with_ - self.without


def comparison_rows(found: Mapping[str, float]) -> list[ComparisonRow]:
    """The comparisons of which both sides were predicted."""
    return [
        ComparisonRow(
            comparison.title,
            comparison.without_title,
            found[comparison.without_name],
            comparison.with_title,
            found[comparison.with_name],
        )
        for comparison in GREY_COMPARISONS
        if comparison.with_name in found and comparison.without_name in found
    ]
