"""What `glus score` says of a folder of predictions, and its JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glus.metrics.davis import ObjectScore, ObjectScores
from glus.metrics.grouping import Grouped
from glus.metrics.presence import temporal_iou, video_iou
from glus.metrics.results import Scores
from glus.metrics.scoring import ExpressionScore
from glus.records.video import Key

Missing = Mapping[Key, Sequence[int]]  # frames that are not predicted, by what they should answer


def num_missing(missing: Missing) -> int:
    """How many masks are missing."""
    return sum(len(frames) for frames in missing.values())


@dataclass(frozen=True)
class Heading:
    """What numbers belong to: the split, its release, the protocol."""

    dataset: str
    split: str
    rule: str
    protocol: str
    protocol_version: int
    dataset_version: str


@dataclass(frozen=True)
class Scorecard(ABC):
    """Scores of a folder of predictions.

    Attributes:
        missing: what was scored 0.
        notes: files that were not scored.
    """

    heading: Heading
    num_videos: int
    num_expressions: int
    missing: Missing
    notes: Sequence[str]

    @property
    @abstractmethod
    def table(self) -> Mapping[str, Scores | ObjectScores]:
        """Rows of scores by name, the mean over everything first as `all`."""

    @abstractmethod
    def means_to_json(self) -> dict[str, Any]:
        """The means, in percent."""

    @abstractmethod
    def rows_to_json(self) -> dict[str, Any]:
        """The scores of everything that was averaged, 0..1."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        heading = self.heading
        return {
            "dataset": heading.dataset,
            "split": heading.split,
            "rule": heading.rule,
            **self.means_to_json(),
            "protocol": heading.protocol,
            "protocol_version": heading.protocol_version,
            "dataset_version": heading.dataset_version,
            "num_videos": self.num_videos,
            "num_expressions": self.num_expressions,
            "missing": {"expressions": len(self.missing), "frames": num_missing(self.missing)},
            "notes": list(self.notes),
            **self.rows_to_json(),
        }


@dataclass(frozen=True)
class ExpressionScorecard(Scorecard):
    """Scores by a protocol that averages expressions."""

    means: Grouped[Scores]
    scores: Sequence[ExpressionScore]

    @property
    def table(self) -> Mapping[str, Scores]:
        """All expressions, then each family."""
        return {"all": self.means.overall, **self.means.groups}

    def means_to_json(self) -> dict[str, Any]:
        """Over all expressions, and of each family."""
        return self.means.to_json("families")

    def rows_to_json(self) -> dict[str, Any]:
        """Of each expression."""
        return {"per_expression": [self._row(score) for score in self.scores]}

    def _row(self, score: ExpressionScore) -> dict[str, Any]:
        reported = self.means.overall.further
        return {
            **score.row,
            "t_iou": temporal_iou(score),
            "v_iou": video_iou(score),
            **{name: value for name, value in score.robustness.items() if name in reported},
            **score.further,
            "num_frames": len(score.j),
            "num_missing_frames": len(self.missing.get(score.key, ())),
        }


@dataclass(frozen=True)
class ObjectScorecard(Scorecard):
    """Scores by a protocol that averages the objects of label maps.

    Attributes:
        scores: by annotator; the one annotator of a protocol without such has no name.
    """

    means: Grouped[ObjectScores]
    scores: Mapping[str, Sequence[ObjectScore]]

    @property
    def table(self) -> Mapping[str, ObjectScores]:
        """The mean, then each annotator."""
        return {"all": self.means.overall, **self.means.groups}

    def means_to_json(self) -> dict[str, Any]:
        """The mean, and of each annotator where there are several."""
        return self.means.to_json("annotators") if self.means.groups else self.means.overall.to_json()

    def rows_to_json(self) -> dict[str, Any]:
        """Of each object."""
        return {
            "per_object": [
                {"annotator": annotator, **score.row} if annotator else score.row
                for annotator, scores in self.scores.items()
                for score in scores
            ]
        }
