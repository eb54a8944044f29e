"""What the numbers of a family say: how far above the trivial baselines it is, and whether the words decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
        """Whether the model clearly beats everything that ignores the words."""
        return self.jf >= self.best_trivial + LEARNED_MARGIN

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
