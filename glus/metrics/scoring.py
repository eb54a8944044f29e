"""The scores of one video's expressions: J, F and robustness, the referent, and baselines from the ground truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

import numpy as np

from glus.errors import InputError
from glus.metrics.boundary import boundary_matches_of_spans
from glus.metrics.region import jaccard_of_overlaps, jaccard_of_spans
from glus.metrics.robustness import robustness
from glus.metrics.spans import NOTHING, Clip, FrameSpans, Spans, count_overlaps, read_spans, unite
from glus.records.video import Expression, Key, Video

TRIVIAL_BASELINES = ("empty", "union_of_objects", "random_object", "largest_object")
SHUFFLED = "shuffled_expressions"

Track = Mapping[int, str]  # frame index -> compressed run lengths
Missing = np.ndarray  # bool [T], frames without a prediction
Measures = Callable[[Spans, Spans, Clip, Missing], Mapping[str, float]]  # prediction, target -> values by name, 0..1
Objects = frozenset[str]  # annotation ids whose union is meant


@dataclass(frozen=True)
class VideoTask:
    """All that the scores of one video need, as plain data.

    Attributes:
        truth: tracks of the annotated objects by annotation id, frames without the object left out.
        predictions: tracks by expression id, as run lengths or read already; a frame that a track lacks scores 0.
        comparisons: name of another way to predict -> tracks by expression id, of some expressions.
    """

    dataset: str
    split: str
    video: Video
    expressions: tuple[Expression, ...]
    truth: Mapping[str, Track]
    predictions: Mapping[str, Track | FrameSpans]
    comparisons: Mapping[str, Mapping[str, Track]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExpressionScore:
    """Scores of one expression, 0..1.

    Attributes:
        j: J of each frame.
        f: F of each frame.
        robustness: R and A in each reading (see `glus.metrics.robustness`), mean over the frames.
        further: measures that the protocol alone has, by name; what does not apply is left out.
        target_px: pixels of the target in each frame.
        predicted_px: pixels of the mask in each frame; None where it is missing.
        referent_correct: whether the object of which the mask covers the largest share is a right one; None where the
            clip has no wrong object, or none of the right ones is ever visible.
        baselines: mean J and mean F of each baseline that the clip allows.
        comparisons: J of each frame, predicted in another way.
        comparisons_f: F of each frame, predicted in that way.
        mean_logit: mean over the frames with a mask of the logits in it; None where there are none, or not known.
    """

    video_id: str
    expression_id: str
    family: str | None
    j: tuple[float, ...]
    f: tuple[float, ...]
    referent_correct: bool | None
    baselines: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    comparisons: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    comparisons_f: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    robustness: Mapping[str, float] = field(default_factory=dict)
    further: Mapping[str, float] = field(default_factory=dict)
    target_px: tuple[int, ...] = ()
    predicted_px: tuple[int | None, ...] = ()
    mean_logit: float | None = None

    @property
    def key(self) -> Key:
        """The expression."""
        return self.video_id, self.expression_id

    @property
    def mean_j(self) -> float:
        """J, mean over the frames."""
        return float(np.mean(self.j))

    @property
    def mean_f(self) -> float:
        """F, mean over the frames."""
        return float(np.mean(self.f))

    @property
    def jf(self) -> float:
        """J&F."""
        return (self.mean_j + self.mean_f) / 2

    @property
    def row(self) -> dict[str, Any]:
        """The expression and its scores as columns of our tables."""
        return {
            "video_id": self.video_id,
            "expression_id": self.expression_id,
            "family": self.family,
            "j": self.mean_j,
            "f": self.mean_f,
            "jf": self.jf,
        }


def score_video(task: VideoTask, bound_th: float, seed: int) -> list[ExpressionScore]:
    """Scores all expressions of one video, and the baselines and comparisons beside them.

    Raises:
        InputError: a mask is broken or of another size than the video; names the expression and the frame.
    """
    scorer = _VideoScorer(task, bound_th)
    beside = _Baselines(scorer, seed)
    return [beside.added_to(scorer.score(expression), expression) for expression in task.expressions]


def score_predictions(task: VideoTask, bound_th: float, further: Measures | None = None) -> list[ExpressionScore]:
    """Scores all expressions of one video, and nothing beside them. Raises as `score_video`.

    Args:
        further: the measures that the protocol alone has.
    """
    scorer = _VideoScorer(task, bound_th, further)
    return [scorer.score(expression) for expression in task.expressions]


def shuffled_partner(expression: Expression, expressions: tuple[Expression, ...]) -> Expression | None:
    """The clip's next expression about other objects, none of them shared; None where there is no such."""
    start, own = expressions.index(expression), set(expression.annotation_ids)
    following = expressions[start + 1 :] + expressions[:start]
    return next((other for other in following if other.annotation_ids and own.isdisjoint(other.annotation_ids)), None)


class _VideoScorer:
    def __init__(self, task: VideoTask, bound_th: float, further: Measures | None = None) -> None:
        self.task, self.bound_th, self.further = task, bound_th, further
        self.clip = Clip(task.video.num_frames, task.video.height_px, task.video.width_px)
        self.truth = {
            annotation: self._read(track.items(), f"annotation {annotation}")
            for annotation, track in task.truth.items()
        }
        self.areas = {annotation: int((spans.ends - spans.starts).sum()) for annotation, spans in self.truth.items()}
        self.visible = tuple(annotation for annotation, area in self.areas.items() if area)
        self.target = cache(self._unite_truth)
        self.predicted = lru_cache(maxsize=1)(self._read_predicted)
        meant = frozenset(name for expression in task.expressions for name in expression.annotation_ids)
        self.foreground_px = self._overlaps(NOTHING, [self.target(meant)])[:, 0, 1]

    def score(self, expression: Expression) -> ExpressionScore:
        pred = self.predicted(expression.expression_id)
        annotations = [self.truth[name] for name in expression.annotation_ids if name in self.truth]
        overlaps = self._overlaps(pred, annotations)
        target = self.target(frozenset(expression.annotation_ids))
        j, f = jaccard_of_overlaps(overlaps), self.boundary_f(pred, target)
        missing = self._missing(self.task.predictions[expression.expression_id])
        measures, predicted_px = robustness(overlaps, self.foreground_px), overlaps[:, 1].sum(axis=1).tolist()
        for values in (j, f, *measures.values()):
            values[missing] = 0
        return ExpressionScore(
            video_id=expression.video_id,
            expression_id=expression.expression_id,
            family=expression.family,
            j=tuple(j.tolist()),
            f=tuple(f.tolist()),
            referent_correct=self._referent_correct(expression, pred),
            robustness={name: float(values.mean()) for name, values in measures.items()},
            further=self.further(pred, target, self.clip, missing) if self.further else {},
            target_px=tuple(overlaps[:, :, 1:].sum(axis=(1, 2)).tolist()),
            predicted_px=tuple(None if lost else px for px, lost in zip(predicted_px, missing.tolist(), strict=True)),
        )

    def jaccard(self, pred: Spans, gt: Spans) -> np.ndarray:
        """J of each frame, float64 [T]."""
        return jaccard_of_spans(pred, gt, self.clip)

    def boundary_f(self, pred: Spans, gt: Spans) -> np.ndarray:
        """F of each frame, float64 [T]."""
        return boundary_matches_of_spans(pred, gt, self.clip, self.bound_th).f

    def read_track(self, track: Track, expression_id: str) -> Spans:
        """A predicted track, checked."""
        return self._read(track.items(), f"expression {expression_id}")

    def _overlaps(self, pred: Spans, truth: Sequence[Spans]) -> np.ndarray:
        return count_overlaps(pred, truth, self.clip)

    def _read(self, masks: Iterable[tuple[int, str]], whose: str) -> Spans:
        try:
            return read_spans(masks, self.clip)
        except InputError as error:
            raise InputError(
                f"{self.task.dataset}/{self.task.split}: mask of video {self.task.video.video_id}, {whose}, {error}."
            ) from error

    def _read_predicted(self, expression_id: str) -> Spans:
        track = self.task.predictions[expression_id]
        return track.spans if isinstance(track, FrameSpans) else self.read_track(track, expression_id)

    def _unite_truth(self, annotations: Objects) -> Spans:
        return unite([self.truth[name] for name in sorted(annotations) if name in self.truth])

    def _missing(self, track: Track | FrameSpans) -> np.ndarray:
        frames = track.frames if isinstance(track, FrameSpans) else track.keys()
        return np.array([index not in frames for index in range(self.clip.num_frames)])

    def _referent_correct(self, expression: Expression, pred: Spans) -> bool | None:
        right = [name for name in self.visible if name in expression.annotation_ids]
        wrong = [name for name in self.visible if name not in expression.annotation_ids]
        if not right or not wrong:
            return None
        return max(self._covered(name, pred) for name in right) > max(self._covered(name, pred) for name in wrong)

    def _covered(self, annotation: str, pred: Spans) -> float:
        """Share of an object's own pixels, over the clip, that a predicted track covers."""
        shared = self._overlaps(pred, [self.truth[annotation]])[:, 1, 1].sum()
        return float(shared) / self.areas[annotation]


class _Baselines:
    """What ignores the words, scored like the prediction, and the prediction scored against other words."""

    def __init__(self, scorer: _VideoScorer, seed: int) -> None:
        self.scorer, self.task, self.seed = scorer, scorer.task, seed
        self._score_objects = cache(
            lambda answer, target: self._score_pair(scorer.target(answer), scorer.target(target))
        )

    def added_to(self, score: ExpressionScore, expression: Expression) -> ExpressionScore:
        """The score of an expression with all that is shown beside it."""
        compared = self._comparisons(expression)
        return replace(
            score,
            baselines=self._trivial(expression) | self._shuffled(expression),
            comparisons={way: tuple(j.tolist()) for way, (j, _) in compared.items()},
            comparisons_f={way: tuple(f.tolist()) for way, (_, f) in compared.items()},
        )

    def _trivial(self, expression: Expression) -> dict[str, tuple[float, float]]:
        """Baselines that know every object of the clip and ignore the words: each is a set of objects."""
        target, visible = frozenset(expression.annotation_ids), self.scorer.visible
        answers: dict[str, Objects] = {"empty": frozenset(), "union_of_objects": frozenset(visible)}
        if visible:
            answers["random_object"] = frozenset({self._draw(expression)})
            answers["largest_object"] = frozenset({max(visible, key=self.scorer.areas.__getitem__)})
        return {name: self._score_objects(answer, target) for name, answer in answers.items()}

    def _shuffled(self, expression: Expression) -> dict[str, tuple[float, float]]:
        """The prediction against the target of another expression of the clip."""
        other = shuffled_partner(expression, self.task.expressions)
        if other is None:
            return {}
        target = self.scorer.target(frozenset(other.annotation_ids))
        return {SHUFFLED: self._score_pair(self.scorer.predicted(expression.expression_id), target)}

    def _comparisons(self, expression: Expression) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """J and F of each frame, predicted in other ways."""
        target, name = self.scorer.target(frozenset(expression.annotation_ids)), expression.expression_id
        compared = {
            way: self.scorer.read_track(tracks[name], name)
            for way, tracks in self.task.comparisons.items()
            if name in tracks
        }
        return {
            way: (self.scorer.jaccard(pred, target), self.scorer.boundary_f(pred, target))
            for way, pred in compared.items()
        }

    def _draw(self, expression: Expression) -> str:
        """An object of the clip, drawn from the seed and the expression's name alone, whatever else is scored."""
        key = (self.task.dataset, self.task.split, expression.video_id, expression.expression_id, str(self.seed))
        digest = hashlib.sha256("\0".join(key).encode()).digest()
        return sorted(self.scorer.visible)[int.from_bytes(digest[:8]) % len(self.scorer.visible)]

    def _score_pair(self, pred: Spans, gt: Spans) -> tuple[float, float]:
        return float(self.scorer.jaccard(pred, gt).mean()), float(self.scorer.boundary_f(pred, gt).mean())
