"""One row of scores, and the numbers of a split as its protocol gives them. Means of J and F in percent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from glus.metrics.grouping import Grouped

JF = "JF"  # J&F in our files
REFERENT_ACCURACY = "referent_accuracy"
_OWN_FIELDS = {"J", "F", JF, REFERENT_ACCURACY}


@dataclass(frozen=True)
class Scores:
    """One row of scores over expressions, percent.

    Attributes:
        j: mean of J.
        f: mean of F.
        jf: J&F, as the protocol averages it.
        further: what the protocol reports beside them, by name, such as R and A (`glus.metrics.robustness`), and when
            and whether the target was found (`glus.metrics.presence`).
        baselines: J&F of each baseline; empty where none was scored.
        referent_accuracy: share of expressions of which the most covered object is a right one, 0..1; None where it was
            not judged.
    """

    j: float
    f: float
    jf: float
    num_expressions: int
    further: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)
    referent_accuracy: float | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Scores:
        """What `to_json` wrote."""
        return cls(
            values["J"],
            values["F"],
            values[JF],
            values["num_expressions"],
            {name: value for name, value in values.items() if isinstance(value, float) and name not in _OWN_FIELDS},
            {name: scores[JF] for name, scores in values.get("baselines", {}).items()},
            values.get(REFERENT_ACCURACY),
        )

    def beside(self, measures: Mapping[str, float]) -> Scores:
        """These scores with some more measures."""
        return replace(self, further={**self.further, **measures})

    @property
    def measures(self) -> dict[str, float]:
        """What is in percent, by its name in our files."""
        return {"J": self.j, "F": self.f, JF: self.jf, **self.further}

    @property
    def counts(self) -> dict[str, int]:
        """What the means are over."""
        return {"expressions": self.num_expressions}

    def to_json(self) -> dict[str, Any]:
        """Plain data, without what is not known."""
        values: dict[str, Any] = {**self.measures, "num_expressions": self.num_expressions}
        if self.baselines:
            values["baselines"] = {name: {JF: jf} for name, jf in self.baselines.items()}
        if self.referent_accuracy is not None:
            values[REFERENT_ACCURACY] = self.referent_accuracy
        return values


@dataclass(frozen=True)
class ProtocolScores:
    """The numbers of a split, with the protocol and the release that they belong to."""

    means: Grouped[Scores]
    protocol: str
    protocol_version: int
    dataset_version: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ProtocolScores:
        """What `to_json` wrote."""
        means = Grouped.from_json(values, "families", Scores.from_json)
        return cls(means, values["protocol"], values["protocol_version"], values["dataset_version"])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **self.means.to_json("families"),
            "protocol": self.protocol,
            "protocol_version": self.protocol_version,
            "dataset_version": self.dataset_version,
        }
