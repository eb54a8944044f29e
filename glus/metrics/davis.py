"""DAVIS 2017's protocols, which score objects of label maps, and Ref-DAVIS17's official one, which is built on them.

Source: davisvideochallenge/davis2017-evaluation; for Ref-DAVIS17 wjn922/ReferFormer, which merges the expressions of
each annotator into one label map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from glus.errors import InputError
from glus.metrics.boundary import boundary_matches_of_spans
from glus.metrics.grouping import Grouped, percent
from glus.metrics.region import jaccard_of_spans
from glus.metrics.results import JF
from glus.metrics.spans import NOTHING, Clip, Spans, subtract

NUM_ANNOTATORS = 4  # two people, each from the first frame and from the full video
MAX_PROPOSALS = 20
RECALL_ABOVE = 0.5
NUM_QUARTERS = 4


@dataclass(frozen=True)
class ObjectScore:
    """J and F of each frame of one object, 0..1."""

    video_id: str
    object_id: str
    j: tuple[float, ...]
    f: tuple[float, ...]

    @property
    def row(self) -> dict[str, Any]:
        """The object and its scores as columns of our tables."""
        j, f = float(np.mean(self.j)), float(np.mean(self.f))
        return {"video_id": self.video_id, "object_id": self.object_id, "j": j, "f": f, "jf": (j + f) / 2}


def first_of_each_pixel(tracks: Sequence[Spans]) -> list[Spans]:
    """Tracks of one label map: a pixel that several objects claim goes to the first of them.

    This is the official merging (argmax over the objects' scores and a background of 0.1, scores under 0.5 dropped,
    ties to the lowest object) where scores are 0 or 1, as stored masks are.

    Args:
        tracks: the objects in the order of their numbers.
    """
    return [subtract(track, tracks[:number]) for number, track in enumerate(tracks)]


def score_objects(pred: Sequence[Spans], gt: Sequence[Spans], clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """J and F of tracks that answer each other, float64 [O, T] each."""
    pairs = list(zip(pred, gt, strict=True))
    j = [jaccard_of_spans(answer, target, clip) for answer, target in pairs]
    f = [boundary_matches_of_spans(answer, target, clip).f for answer, target in pairs]
    return np.stack(j), np.stack(f)


def score_unsupervised(
    proposals: Sequence[Spans], gt: Sequence[Spans], clip: Clip
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """J and F of objects, each answered by the proposal that the best assignment over the video gives it.

    The official script lists the results in the order of the proposals and numbers them like objects; here they are in
    the order of the objects. Means are the same.

    Args:
        proposals: tracks without an order; where there are fewer than objects, empty ones are added.
        gt: track of each object. Void pixels are to be subtracted from both.

    Returns:
        J and F, float64 [O, T] each; index of each object's proposal, int [O].

    Raises:
        InputError: there are more proposals than the challenge allows.
    """
    if len(proposals) > MAX_PROPOSALS:
        raise InputError(f"{len(proposals)} proposals, the challenge allows {MAX_PROPOSALS} a video")
    proposals = [*proposals, *[NOTHING] * (len(gt) - len(proposals))]
    of_all = [score_objects(proposals, [target] * len(proposals), clip) for target in gt]
    j, f = (np.stack([of_object[measure] for of_object in of_all], axis=1) for measure in range(2))  # [P, O, T]
    answers, objects = linear_sum_assignment((j.mean(axis=2) + f.mean(axis=2)) / 2, maximize=True)
    order = np.argsort(objects)
    answers, objects = answers[order], objects[order]
    return j[answers, objects], f[answers, objects], answers


def recall(values: Sequence[float]) -> float:
    """Share of frames above 0.5."""
    return float(np.mean(np.asarray(values) > RECALL_ABOVE))


def decay(values: Sequence[float]) -> float:
    """Mean of the first quarter of the frames minus mean of the last; neighbouring quarters share a frame."""
    edges = np.round(np.linspace(1, len(values), NUM_QUARTERS + 1) + 1e-10).astype(int) - 1
    return float(np.mean(values[: edges[1] + 1]) - np.mean(values[edges[-2] : edges[-1] + 1]))


@dataclass(frozen=True)
class ObjectScores:
    """One row of scores over objects, percent."""

    j: float
    j_recall: float
    j_decay: float
    f: float
    f_recall: float
    f_decay: float
    jf: float
    num_objects: int

    @property
    def measures(self) -> dict[str, float]:
        """What is in percent, by its name in our files."""
        return {
            "J": self.j,
            "J_recall": self.j_recall,
            "J_decay": self.j_decay,
            "F": self.f,
            "F_recall": self.f_recall,
            "F_decay": self.f_decay,
            JF: self.jf,
        }

    @property
    def counts(self) -> dict[str, int]:
        """What the means are over."""
        return {"objects": self.num_objects}

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.measures, "num_objects": self.num_objects}


def average_objects(scores: Sequence[ObjectScore]) -> ObjectScores:
    """Mean over objects, whatever video they are of.

    Raises:
        InputError: there is nothing to average.
    """
    if not scores:
        raise InputError("There are no objects to score.")
    j, f = [score.j for score in scores], [score.f for score in scores]
    mean_j, mean_f = percent(map(np.mean, j)), percent(map(np.mean, f))
    return ObjectScores(
        j=mean_j,
        j_recall=percent(map(recall, j)),
        j_decay=percent(map(decay, j)),
        f=mean_f,
        f_recall=percent(map(recall, f)),
        f_decay=percent(map(decay, f)),
        jf=(mean_j + mean_f) / 2,
        num_objects=len(scores),
    )


def average_annotators(by_annotator: Sequence[Sequence[ObjectScore]]) -> Grouped[ObjectScores]:
    """The mean of the four annotators of Ref-DAVIS17 (`anno_0` to `anno_3`), each a mean over objects."""
    annotators = [average_objects(scores) for scores in by_annotator]
    measures = [field.name for field in fields(ObjectScores) if field.name != "num_objects"]
    means = {name: float(np.mean([getattr(scores, name) for scores in annotators])) for name in measures}
    overall = ObjectScores(**means, num_objects=annotators[0].num_objects)
    return Grouped(overall, {f"anno_{number}": scores for number, scores in enumerate(annotators)})
