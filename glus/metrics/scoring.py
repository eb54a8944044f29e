"""The scores of one video's expressions: J and F per frame, the referent, and baselines from the ground truth."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from glus.errors import InputError
from glus.masks import decode_rle, rle_area, rle_intersection_px
from glus.metrics.boundary import boundary_f
from glus.metrics.region import jaccard
from glus.records import Expression, Video

TRIVIAL_BASELINES = ("empty", "union_of_objects", "random_object", "largest_object")
SHUFFLED = "shuffled_expressions"

Track = Mapping[int, str]  # frame index -> compressed run lengths
Objects = frozenset[str]  # annotation ids whose union is meant


@dataclass(frozen=True)
class VideoTask:
    """All that the scores of one video need, as plain data.

    Attributes:
        truth: tracks of the annotated objects by annotation id, frames without the object left out.
        predictions: tracks of all frames by expression id.
        comparisons: name of another way to predict -> tracks by expression id, of some expressions.
    """

    dataset: str
    split: str
    video: Video
    expressions: tuple[Expression, ...]
    truth: Mapping[str, Track]
    predictions: Mapping[str, Track]
    comparisons: Mapping[str, Mapping[str, Track]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExpressionScore:
    """Scores of one expression, 0..1.

    Attributes:
        j: J of each frame.
        f: F of each frame.
        referent_correct: whether the object of which the mask covers the largest share is a right one; None where the
            clip has no wrong object, or none of the right ones is ever visible.
        baselines: mean J and mean F of each baseline that the clip allows.
        comparisons: J of each frame, predicted in another way.
        comparisons_f: F of each frame, predicted in that way.
    """

    video_id: str
    expression_id: str
    family: str | None
    j: tuple[float, ...]
    f: tuple[float, ...]
    referent_correct: bool | None
    baselines: Mapping[str, tuple[float, float]]
    comparisons: Mapping[str, tuple[float, ...]]
    comparisons_f: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

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


def score_video(task: VideoTask, bound_th: float, seed: int) -> list[ExpressionScore]:
    """Scores all expressions of one video.

    Raises:
        InputError: a mask is broken or of another size than the video; names the expression and the frame.
    """
    return _VideoScorer(task, bound_th, seed).scores()


def shuffled_partner(expression: Expression, expressions: tuple[Expression, ...]) -> Expression | None:
    """The clip's next expression about other objects, none of them shared; None where there is no such."""
    start, own = expressions.index(expression), set(expression.annotation_ids)
    following = expressions[start + 1 :] + expressions[:start]
    return next((other for other in following if other.annotation_ids and own.isdisjoint(other.annotation_ids)), None)


class _VideoScorer:
    def __init__(self, task: VideoTask, bound_th: float, seed: int) -> None:
        self.task, self.bound_th, self.seed = task, bound_th, seed
        self.height, self.width = task.video.height_px, task.video.width_px
        self.areas = {
            annotation: sum(rle_area(counts, self.height, self.width) for counts in track.values())
            for annotation, track in task.truth.items()
        }
        self.visible = tuple(annotation for annotation, area in self.areas.items() if area)
        # The target, the partner's target and the baseline's answer come again and again.
        self._truth = lru_cache(maxsize=4)(self._decode_truth)
        self.known_pairs: dict[tuple[Objects, Objects], tuple[float, float]] = {}

    def scores(self) -> list[ExpressionScore]:
        return [self._score(expression) for expression in self.task.expressions]

    def _score(self, expression: Expression) -> ExpressionScore:
        track = self.task.predictions[expression.expression_id]
        masks = self._predicted(expression, track)
        target = self._truth(frozenset(expression.annotation_ids))
        j, f = self._frame_scores(masks, target)
        compared = {
            name: self._frame_scores(self._predicted(expression, tracks[expression.expression_id]), target)
            for name, tracks in self.task.comparisons.items()
            if expression.expression_id in tracks
        }
        return ExpressionScore(
            video_id=expression.video_id,
            expression_id=expression.expression_id,
            family=expression.family,
            j=j,
            f=f,
            referent_correct=self._referent_correct(expression, track),
            baselines=self._trivial(expression) | self._shuffled(expression, masks),
            comparisons={name: of_frames for name, (of_frames, _) in compared.items()},
            comparisons_f={name: of_frames for name, (_, of_frames) in compared.items()},
        )

    def _frame_scores(self, masks: np.ndarray, target: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """J and F of each frame."""
        j, f = jaccard(masks, target), boundary_f(masks, target, bound_th=self.bound_th)
        return tuple(j.tolist()), tuple(f.tolist())

    def _referent_correct(self, expression: Expression, track: Track) -> bool | None:
        right = [name for name in self.visible if name in expression.annotation_ids]
        wrong = [name for name in self.visible if name not in expression.annotation_ids]
        if not right or not wrong:
            return None
        return max(self._covered(name, track) for name in right) > max(self._covered(name, track) for name in wrong)

    def _covered(self, annotation: str, track: Track) -> float:
        """Share of an object's own pixels, over the clip, that a predicted track covers."""
        shared = (
            rle_intersection_px(counts, track[index], self.height, self.width)
            for index, counts in self.task.truth[annotation].items()
        )
        return sum(shared) / self.areas[annotation]

    def _trivial(self, expression: Expression) -> dict[str, tuple[float, float]]:
        """Baselines that know every object of the clip and ignore the words: each is a set of objects."""
        target = frozenset(expression.annotation_ids)
        answers: dict[str, Objects] = {"empty": frozenset(), "union_of_objects": frozenset(self.visible)}
        if self.visible:
            answers["random_object"] = frozenset({self._draw(expression)})
            answers["largest_object"] = frozenset({max(self.visible, key=self.areas.__getitem__)})
        return {name: self._score_pair(answer, target) for name, answer in answers.items()}

    def _draw(self, expression: Expression) -> str:
        """An object of the clip, drawn from the seed and the expression's name alone, whatever else is scored."""
        key = (self.task.dataset, self.task.split, expression.video_id, expression.expression_id, str(self.seed))
        digest = hashlib.sha256("\0".join(key).encode()).digest()
        return sorted(self.visible)[int.from_bytes(digest[:8]) % len(self.visible)]

    def _score_pair(self, answer: Objects, target: Objects) -> tuple[float, float]:
        if (answer, target) not in self.known_pairs:
            masks, truth = self._truth(answer), self._truth(target)
            scores = jaccard(masks, truth), boundary_f(masks, truth, bound_th=self.bound_th)
            self.known_pairs[answer, target] = (float(scores[0].mean()), float(scores[1].mean()))
        return self.known_pairs[answer, target]

    def _shuffled(self, expression: Expression, masks: np.ndarray) -> dict[str, tuple[float, float]]:
        other = shuffled_partner(expression, self.task.expressions)
        if other is None:
            return {}
        target = self._truth(frozenset(other.annotation_ids))
        f = boundary_f(masks, target, bound_th=self.bound_th)
        return {SHUFFLED: (float(jaccard(masks, target).mean()), float(f.mean()))}

    def _decode_truth(self, annotations: Objects) -> np.ndarray:
        """Union of some objects, bool [T, H, W]."""
        masks = self._no_masks()
        for name in annotations & self.task.truth.keys():
            for index, counts in self.task.truth[name].items():
                masks[index] |= decode_rle(counts, self.height, self.width)
        return masks

    def _predicted(self, expression: Expression, track: Track) -> np.ndarray:
        masks = self._no_masks()
        for index, counts in track.items():
            try:
                masks[index] = decode_rle(counts, self.height, self.width)
            except InputError as error:
                raise InputError(
                    f"{self.task.dataset}/{self.task.split}: predicted mask of video {expression.video_id}, expression"
                    f" {expression.expression_id}, frame {index} cannot be used: {error}."
                ) from error
        return masks

    def _no_masks(self) -> np.ndarray:
        """All false, bool [T, H, W], each frame column-major in memory as run lengths are."""
        return np.zeros((self.task.video.num_frames, self.width, self.height), dtype=bool).swapaxes(1, 2)
