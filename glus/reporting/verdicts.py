"""What the numbers of a family say: how far above the trivial baselines it is, and whether the words decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glus.metrics.failures import Failure
from glus.metrics.scoring import SHUFFLED, TRIVIAL_BASELINES

LEARNED_MARGIN = 5.0  # points of J&F above the best trivial baseline, below which nothing is claimed

BASELINE_TITLES = {
    "empty": "empty",
    "union_of_objects": "union",
    "random_object": "random",
    "largest_object": "largest",
    SHUFFLED: "shuffled",
}
COMPARISON_TITLES = {
    "greyed": ("Objects turn grey", ("greyed_memory_off", "memory off"), ("greyed_memory_on", "memory on")),
    "starts_grey": (
        "Clip starts grey",
        ("starts_grey_first_frame", "from the first frame"),
        ("starts_grey_key_frame", "from the key frame"),
    ),
}
FAILURE_TITLES = {
    Failure.BOUNDARY: "boundary",
    Failure.EXTENT: "wrong extent",
    Failure.WRONG_OBJECT: "wrong object",
    Failure.MISSED: "missed frames",
    Failure.EMPTY: "empty answer",
    Failure.FALSE_ALARM: "false alarm",
}
START_TITLES = {
    "first": "first frame",
    "random": "random frame",
    "selected": "selected frame",
    "oracle": "oracle",
}


@dataclass(frozen=True)
class FamilyRow:
    """One line of the results: a family, or all expressions of a split. J&F in percent, the referent 0..1."""

    name: str
    num_expressions: int
    j: float
    f: float
    jf: float
    referent_accuracy: float | None
    baselines: Mapping[str, float]

    @property
    def best_trivial(self) -> float:
        """J&F of the best baseline that ignores the words."""
        return max((self.baselines[name] for name in TRIVIAL_BASELINES if name in self.baselines), default=0.0)

    @property
    def learned(self) -> bool:
        """Whether the model clearly beats everything that ignores the words; nothing is claimed without baselines."""
        judged = any(name in self.baselines for name in TRIVIAL_BASELINES)
        return judged and self.jf >= self.best_trivial + LEARNED_MARGIN

    @property
    def lost_when_shuffled(self) -> float | None:
        """Points of J&F lost when the masks are scored against other expressions."""
        return self.jf - self.baselines[SHUFFLED] if SHUFFLED in self.baselines else None


def family_rows(metrics: Mapping[str, Any]) -> list[FamilyRow]:
    """The families of one split of `metrics/evaluate.json`, best first, then all expressions together."""
    families = [_row(name, values) for name, values in metrics.get("families", {}).items()]
    everything = [_row("all", metrics)] if "JF" in metrics else []
    return sorted(families, key=lambda row: -row.jf) + everything


def _row(name: str, values: Mapping[str, Any]) -> FamilyRow:
    return FamilyRow(
        name,
        values["num_expressions"],
        values["J"],
        values["F"],
        values["JF"],
        values.get("referent_accuracy"),
        {baseline: scores["JF"] for baseline, scores in values.get("baselines", {}).items()},
    )


@dataclass(frozen=True)
class ComparisonRow:
    """One comparison on the grey frames, J in percent."""

    family: str
    title: str
    without_title: str
    without: float
    with_title: str
    with_: float

    @property
    def gain(self) -> float:
        """Points gained."""
        return self.with_ - self.without


def comparison_rows(metrics: Mapping[str, Any]) -> list[ComparisonRow]:
    """The comparisons of one split of `metrics/evaluate.json`."""
    found = metrics.get("comparisons", {})
    return [
        ComparisonRow(family, title, without_title, found[without], with_title, found[with_])
        for family, (title, (without, without_title), (with_, with_title)) in COMPARISON_TITLES.items()
        if without in found and with_ in found
    ]


@dataclass(frozen=True)
class FailureRow:
    """Where a family, or all expressions of a split, lose J&F, in points."""

    name: str
    num_expressions: int
    num_with_others: int
    lost: float
    kinds: Mapping[Failure, float]

    @property
    def kept(self) -> float:
        """J&F in percent."""
        return 100 - self.lost


def failure_rows(metrics: Mapping[str, Any]) -> list[FailureRow]:
    """The failure split of one split of `metrics/evaluate.json`: families, least lost first, then all together."""
    found = metrics.get("failures")
    if found is None:
        return []
    families = [_failure_row(name, values) for name, values in found["families"].items()]
    return [*sorted(families, key=lambda row: row.lost), _failure_row("all", found)]


def _failure_row(name: str, values: Mapping[str, Any]) -> FailureRow:
    kinds = {kind: values["kinds"][kind] for kind in FAILURE_TITLES}
    return FailureRow(name, values["num_expressions"], values["num_with_others"], values["lost"], kinds)


@dataclass(frozen=True)
class RegretRow:
    """J&F in percent by the frame that propagation starts from (None: not predicted), and what selection is worth."""

    name: str
    num_expressions: int
    jf: Mapping[str, float | None]
    regret: float | None
    gap_closed: float | None


def regret_rows(metrics: Mapping[str, Any]) -> list[RegretRow]:
    """The key-frame regret of one split of `metrics/evaluate.json`: families, best first, then all together."""
    found = metrics.get("key_frame_regret")
    if found is None:
        return []
    families = sorted(found["families"].items(), key=lambda item: -item[1]["selected"])
    return [_regret_row(name, values) for name, values in [*families, ("all", found)]]


def _regret_row(name: str, values: Mapping[str, Any]) -> RegretRow:
    jf = {start: values[start] for start in START_TITLES}
    return RegretRow(name, values["num_expressions"], jf, values["regret"], values["gap_closed"])
