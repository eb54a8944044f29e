"""DAVIS 2017's protocols, which score objects of label maps, and Ref-DAVIS17's official one, which is built on them.

Source: davisvideochallenge/davis2017-evaluation; for Ref-DAVIS17 wjn922/ReferFormer, which merges the expressions of
each annotator into one label map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from glus.errors import InputError
from glus.metrics.boundary import boundary_matches_of_spans
from glus.metrics.region import jaccard_of_spans
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


def score_semi_supervised(pred: Sequence[Spans], gt: Sequence[Spans], clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """J and F of objects with given numbers, float64 [O, T - 2] each.

    The first frame is given and the last one left out, so neither counts.
    """
    j, f = score_objects(pred, gt, clip)
    return j[:, 1:-1], f[:, 1:-1]


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


def average_objects(scores: Sequence[ObjectScore]) -> dict[str, Any]:
    """Mean over objects, whatever video they are of. In percent.

    Returns:
        `J`, `F`, `JF`, `J_recall`, `F_recall`, `J_decay`, `F_decay`, `num_objects`.

    Raises:
        InputError: there is nothing to average.
    """
    if not scores:
        raise InputError("There are no objects to score.")
    result: dict[str, Any] = {}
    for name, of_objects in (("J", [score.j for score in scores]), ("F", [score.f for score in scores])):
        result[name] = 100 * float(np.mean([np.mean(values) for values in of_objects]))
        result[f"{name}_recall"] = 100 * float(np.mean([recall(values) for values in of_objects]))
        result[f"{name}_decay"] = 100 * float(np.mean([decay(values) for values in of_objects]))
    return result | {"JF": (result["J"] + result["F"]) / 2, "num_objects": len(scores)}


def average_annotators(by_annotator: Sequence[Sequence[ObjectScore]]) -> dict[str, Any]:
    """The mean of the four annotators of Ref-DAVIS17, each a mean over objects. In percent.

    Returns:
        The keys of `average_objects`, and theirs for each annotator in `annotators` (`anno_0` to `anno_3`).
    """
    annotators = [average_objects(scores) for scores in by_annotator]
    means = {name: float(np.mean([values[name] for values in annotators])) for name in annotators[0]}
    num_objects = annotators[0]["num_objects"]
    named = {f"anno_{number}": values for number, values in enumerate(annotators)}
    return {**means, "num_objects": num_objects, "annotators": named}
