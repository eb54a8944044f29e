"""Where J&F is lost: every frame fails in at most one way, and the losses of all ways add up to 100 - J&F.

The bounds on IoU, 0.1 and 0.5 by default, are those by which TIDE (Bolya et al., ECCV 2020) tells errors of detectors.
A mask that holds one of two equal objects has J 0.5, so a mask fits above that bound, not at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from glus.masks import rle_area, rle_intersection_px
from glus.metrics.grouping import Grouped, by_family, percent
from glus.metrics.scoring import ExpressionScore, VideoTask
from glus.metrics.spans import FrameSpans
from glus.records.video import Expression


class Failure(StrEnum):
    """Ways in which a frame loses J&F, in the order in which they are tried; a frame that loses nothing has none.

    A mask is on an object where their IoU reaches the bound `found`, and fits where J is above the bound `fits`.

    FALSE_ALARM: the target is not visible, but something is predicted.
    EMPTY: nothing is predicted, in this and in every other frame where the target is visible.
    MISSED: nothing is predicted here, though it is in another such frame; or the mask is on no annotated object.
    WRONG_OBJECT: the mask is on an object that is not meant, and its IoU with that is above its J.
    EXTENT: the mask is on the target, but does not fit: a part of it, or far more than it.
    BOUNDARY: the mask fits, but its outline is imprecise.
    """

    FALSE_ALARM = "false_alarm"
    EMPTY = "empty"
    MISSED = "missed"
    WRONG_OBJECT = "wrong_object"
    EXTENT = "extent"
    BOUNDARY = "boundary"


@dataclass(frozen=True)
class FrameFailures:
    """How each frame of one expression fails.

    Attributes:
        kinds: the failure of each frame, None where nothing is lost.
        visible: whether the target is to be seen in each frame.
    """

    kinds: tuple[Failure | None, ...]
    visible: tuple[bool, ...]

    @classmethod
    def from_plain(cls, values: Mapping[str, Sequence[Any]]) -> FrameFailures:
        """From what `dataclasses.asdict` and JSON made of it."""
        return cls(tuple(kind and Failure(kind) for kind in values["kinds"]), tuple(values["visible"]))

    @property
    def num_visible(self) -> int:
        """Frames in which the target is to be seen."""
        return sum(self.visible)

    @property
    def num_missed(self) -> int:
        """Frames among them without the target, an empty answer included."""
        return sum(kind in (Failure.EMPTY, Failure.MISSED) for kind in self.kinds)


def find_failures(
    task: VideoTask, scores: Sequence[ExpressionScore], *, found: float, fits: float
) -> list[FrameFailures]:
    """Says how the frames of one video's expressions fail.

    Args:
        task: the masks.
        scores: of the task's expressions, in their order.
        found: IoU from which a mask is on an object.
        fits: J above which only the outline is imprecise.
    """
    meetings = _Meetings(task)
    result = []
    for expression, score in zip(task.expressions, scores, strict=True):
        visible, predicted, other_iou = meetings.of_expression(expression)
        kinds = classify_frames(score.j, score.f, visible, predicted, other_iou, found=found, fits=fits)
        result.append(FrameFailures(kinds, visible))
    return result


class _Meetings:
    """What the predicted masks of one video meet, straight from run lengths."""

    def __init__(self, task: VideoTask) -> None:
        self.task = task
        self.height, self.width = task.video.height_px, task.video.width_px
        self.areas = {
            annotation: {index: self._area(counts) for index, counts in track.items()}
            for annotation, track in task.truth.items()
        }

    def of_expression(self, expression: Expression) -> tuple[tuple[bool, ...], tuple[bool, ...], tuple[float, ...]]:
        """For each frame: whether the target is visible, whether something is predicted, IoU with the best other."""
        track = self.task.predictions[expression.expression_id]
        assert not isinstance(track, FrameSpans), "failures are found from run lengths"
        target = self.areas.keys() & set(expression.annotation_ids)
        frames = range(self.task.video.num_frames)
        visible = tuple(any(self.areas[name].get(index) for name in target) for index in frames)
        predicted = [self._area(track[index]) for index in frames]
        other_iou = tuple(
            max(
                (self._iou(name, index, track[index], predicted[index]) for name in self.areas.keys() - target),
                default=0,
            )
            for index in frames
        )
        return visible, tuple(map(bool, predicted)), other_iou

    def _iou(self, annotation: str, index: int, counts: str, predicted_px: int) -> float:
        area = self.areas[annotation].get(index)
        if not area:  # not in this frame, or empty: no mask is on it
            return 0.0
        shared = rle_intersection_px(self.task.truth[annotation][index], counts, self.height, self.width)
        return shared / (area + predicted_px - shared)

    def _area(self, counts: str) -> int:
        return rle_area(counts, self.height, self.width)


def classify_frames(
    j: Sequence[float],
    f: Sequence[float],
    visible: Sequence[bool],
    predicted: Sequence[bool],
    other_iou: Sequence[float],
    *,
    found: float,
    fits: float,
) -> tuple[Failure | None, ...]:
    """The failure of each frame of one expression.

    Args:
        j: J of each frame.
        f: F of each frame.
        visible: whether the target is to be seen.
        predicted: whether the mask holds a pixel.
        other_iou: largest IoU of the mask with one object that is not meant.
        found: IoU from which a mask is on an object.
        fits: J above which only the outline is imprecise.
    """
    # A model that never answers fails once, as a whole; one that answers elsewhere misses single frames.
    blank = Failure.MISSED if any(np.logical_and(visible, predicted)) else Failure.EMPTY

    def of_frame(j: float, f: float, visible: bool, predicted: bool, other_iou: float) -> Failure | None:
        if j == f == 1:  # first of all: an absent target without a prediction is right, and loses nothing
            return None
        if not visible:
            return Failure.FALSE_ALARM
        if not predicted:
            return blank
        # Before MISSED, which a low J alone would say; compared with J, since the two objects may overlap.
        if other_iou >= found and other_iou > j:
            return Failure.WRONG_OBJECT
        if j < found:
            return Failure.MISSED
        return Failure.BOUNDARY if j > fits else Failure.EXTENT

    return tuple(of_frame(*frame) for frame in zip(j, f, visible, predicted, other_iou, strict=True))


def lost_by_kind(score: ExpressionScore, failures: FrameFailures) -> dict[Failure, float]:
    """What each kind of failure costs an expression: shares of its 1 - J&F, 0..1, which they add up to."""
    lost = 1 - (np.asarray(score.j) + np.asarray(score.f)) / 2
    kinds = np.array([kind or "" for kind in failures.kinds])
    return {kind: float(lost[kinds == kind].sum() / len(lost)) for kind in Failure}


def costliest(lost: Mapping[Failure, float]) -> Failure | None:
    """The kind that costs an expression the most, the first one of equal kinds; None where nothing is lost."""
    kind = max(Failure, key=lost.__getitem__)
    return kind if lost[kind] else None


@dataclass(frozen=True)
class Losses:
    """Where expressions lose J&F, in points.

    Attributes:
        lost: 100 less the plain mean of the expressions' J&F.
        kinds: what each kind of failure costs; they add up to `lost`.
        num_with_others: expressions whose clip has an object that is not meant, without which a wrong object cannot be
            told and counts as missed.
    """

    lost: float
    kinds: Mapping[Failure, float]
    num_expressions: int
    num_with_others: int

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Losses:
        """What `to_json` wrote."""
        kinds = {kind: values["kinds"][kind] for kind in Failure}
        return cls(values["lost"], kinds, values["num_expressions"], values["num_with_others"])

    @property
    def kept(self) -> float:
        """J&F in percent."""
        return 100 - self.lost

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "lost": self.lost,
            "kinds": {kind.value: points for kind, points in self.kinds.items()},
            "num_expressions": self.num_expressions,
            "num_with_others": self.num_with_others,
        }


def failure_split(scores: Sequence[ExpressionScore], failures: Sequence[FrameFailures]) -> Grouped[Losses]:
    """Points of J&F that each kind of failure costs, over all expressions and for each family.

    Args:
        scores: of the expressions.
        failures: of the same expressions.
    """
    pairs = list(zip(scores, failures, strict=True))
    return Grouped(_losses(pairs), by_family(pairs, lambda pair: pair[0].family, _losses))


def _losses(pairs: Sequence[tuple[ExpressionScore, FrameFailures]]) -> Losses:
    lost = [lost_by_kind(score, failures) for score, failures in pairs]
    return Losses(
        lost=percent(1 - score.jf for score, _ in pairs),
        kinds={kind: percent(of_expression[kind] for of_expression in lost) for kind in Failure},
        num_expressions=len(pairs),
        num_with_others=sum(score.referent_correct is not None for score, _ in pairs),
    )
