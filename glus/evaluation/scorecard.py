"""The scores of a folder of predictions, ours or another model's: opened, counted, scored video by video, averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glus.errors import InputError, name_some
from glus.evaluation.answers import Answers, PngTrack, find_answers, find_label_maps, read_rles
from glus.evaluation.completeness import Key, describe_missing, find_missing
from glus.evaluation.label_maps import (
    LABEL_MAP_PROTOCOLS,
    LabelMapProtocol,
    LabelMapTask,
    answers_by_annotator,
    label_map_of,
    score_label_maps,
)
from glus.evaluation.predictions import expressions_by_key
from glus.evaluation.truth import RawSplit, open_ground_truth
from glus.execution.processes import map_in_processes
from glus.metrics.davis import ObjectScore
from glus.metrics.protocols import PROTOCOLS, Protocol, average, dataset_version, protocol_of
from glus.metrics.scoring import ExpressionScore, Track, VideoTask, score_predictions
from glus.records.ground_truth import GroundTruth
from glus.records.split import Video
from glus.staging.checks import Progress

BOUND_TH = 0.008


@dataclass(frozen=True)
class Request:
    """What to score, and how.

    Attributes:
        root: the dataset as published, or the folder of staged datasets.
        predictions: a folder of PNG files or our Parquet.
        protocol: its name; None is the dataset's own.
        allow_missing: score 0 what is missing, instead of refusing.
    """

    dataset: str
    root: Path
    split: str
    predictions: Path
    protocol: str | None
    allow_missing: bool
    processes: int


def score_folder(request: Request, progress: Progress) -> dict[str, Any]:
    """Scores a folder of predictions.

    Returns:
        The protocol's numbers in percent with its name and version, `missing` (what was scored 0), `notes`, and
        `per_expression` or `per_object` (0..1).

    Raises:
        InputError: the dataset or the predictions are faulty or incomplete; names what.
    """
    protocol = find_protocol(request.dataset, request.protocol)
    truth = open_ground_truth(request.dataset, request.root, request.split, request.processes, progress)
    if isinstance(protocol, LabelMapProtocol):
        found = _score_objects(request, protocol, truth, progress)
    else:
        found = _score_expressions(request, protocol, truth, progress)
    return {"dataset": request.dataset, "split": request.split, "rule": protocol.rule, **found}


def find_protocol(dataset: str, name: str | None) -> Protocol | LabelMapProtocol:
    """A protocol by its name, or the dataset's own.

    Raises:
        InputError: there is none of that name, or it is another dataset's.
    """
    if name is None:
        return protocol_of(dataset)
    known: dict[str, Protocol | LabelMapProtocol] = {**PROTOCOLS, **LABEL_MAP_PROTOCOLS}
    if name not in known:
        raise InputError(f"{name!r} is not a protocol; there are {', '.join(known)}.")
    protocol = known[name]
    if dataset not in protocol.datasets and protocol != protocol_of(dataset):
        raise InputError(f"{name} is a protocol of {', '.join(protocol.datasets)}, not of {dataset}.")
    return protocol


def _score_expressions(request: Request, protocol: Protocol, truth: GroundTruth, progress: Progress) -> dict[str, Any]:
    answers = find_answers(request.predictions, truth)
    missing = _missing(request, truth, answers, expressions_by_key(truth))
    jobs = (_job(truth, video, answers) for video in truth.videos.values())
    of_videos = _in_processes(partial(partial, _score_video), jobs, request, truth, progress)
    scores = [score for of_video in of_videos for score in of_video]
    numbers = average(protocol, request.dataset, request.split, scores)
    del numbers["baselines"]
    for family in numbers["families"].values():
        family.pop("baselines", None)
    return {
        **numbers,
        "num_videos": len(truth.videos),
        "missing": _count(missing),
        "notes": answers.notes,
        "per_expression": [_row(score, missing, numbers) for score in scores],
    }


def _job(truth: GroundTruth, video: Video, answers: Answers) -> tuple[VideoTask, dict[str, Track | PngTrack]]:
    asked = truth.expressions[video.video_id]
    names = [item.expression_id for item in asked]
    tracks = {name: answers.tracks.get((video.video_id, name), {}) for name in names}
    task = VideoTask(truth.dataset, truth.split, video, tuple(asked), truth.mask_rles(video.video_id), {})
    return task, tracks


def _score_video(job: tuple[VideoTask, dict[str, Track | PngTrack]]) -> list[ExpressionScore]:
    task, tracks = job
    masks = {name: read_rles(track, task.video) for name, track in tracks.items()}
    return score_predictions(replace(task, predictions=masks), BOUND_TH)


def _row(score: ExpressionScore, missing: Mapping[Key, Sequence[int]], numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "video_id": score.video_id,
        "expression_id": score.expression_id,
        "family": score.family,
        "j": score.mean_j,
        "f": score.mean_f,
        "jf": score.jf,
        **{name: value for name, value in score.robustness.items() if name in numbers},
        "num_frames": len(score.j),
        "num_missing_frames": len(missing.get((score.video_id, score.expression_id), ())),
    }


def _score_objects(
    request: Request, protocol: LabelMapProtocol, truth: GroundTruth, progress: Progress
) -> dict[str, Any]:
    if not isinstance(truth, RawSplit) or not truth.label_maps:
        raise InputError(
            f"{protocol.name} requires label maps, with their void pixels, which are not staged: --root has to name"
            f" {' or '.join(protocol.datasets)} as published."
        )
    expressions = expressions_by_key(truth)
    if len(protocol.annotators) == 1 or any((request.predictions / name).is_dir() for name in protocol.annotators):
        answers = find_label_maps(request.predictions, truth, protocol.annotators)
        keys = [(video_id, name) for video_id in truth.videos for name in protocol.annotators]
    else:
        answers, keys = find_answers(request.predictions, truth), list(expressions)
    missing = _missing(request, truth, answers, keys, protocol.counted)
    tasks = (_object_task(truth, video, answers, protocol) for video in truth.videos.values())
    of_videos = _in_processes(partial(partial, score_label_maps, protocol=protocol), tasks, request, truth, progress)
    by_annotator = [
        [score for of_video in of_videos for score in of_video[number]] for number in range(len(protocol.annotators))
    ]
    return {
        **protocol.average(by_annotator),
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "dataset_version": dataset_version(request.dataset, request.split, len(expressions)),
        "num_videos": len(truth.videos),
        "num_expressions": len(expressions),
        "missing": _count(missing),
        "notes": answers.notes,
        "per_object": [
            _object_row(annotator, score)
            for annotator, scores in zip(protocol.annotators, by_annotator, strict=True)
            for score in scores
        ],
    }


def _object_task(truth: RawSplit, video: Video, answers: Answers, protocol: LabelMapProtocol) -> LabelMapTask:
    gt = label_map_of(video, truth.label_maps[video.video_id])
    if any(name in protocol.annotators for _, name in answers.tracks):
        label_maps = (answers.tracks.get((video.video_id, name)) for name in protocol.annotators)
        return LabelMapTask(video, gt, tuple(item if isinstance(item, PngTrack) else {} for item in label_maps))
    tracks = {name: track for (video_id, name), track in answers.tracks.items() if video_id == video.video_id}
    return LabelMapTask(video, gt, answers_by_annotator(truth.expressions[video.video_id], tracks))


def _object_row(annotator: str, score: ObjectScore) -> dict[str, Any]:
    j, f = float(np.mean(score.j)), float(np.mean(score.f))
    row = {"video_id": score.video_id, "object_id": score.object_id, "j": j, "f": f, "jf": (j + f) / 2}
    return {"annotator": annotator, **row} if annotator else row


def _in_processes(
    build: Callable[[], Callable[[Any], Any]],
    jobs: Iterable[Any],
    request: Request,
    truth: GroundTruth,
    progress: Progress,
) -> list[Any]:
    """The results of all videos, in their order."""
    finished = map_in_processes(build, jobs, min(request.processes, len(truth.videos)))
    return list(progress(finished, f"scores of {request.dataset}/{request.split}", len(truth.videos)))


def _missing(
    request: Request, truth: GroundTruth, answers: Answers, keys: Iterable[Key], counted: slice = slice(None)
) -> dict[Key, list[int]]:
    """What is not predicted, which is refused unless it may score 0."""
    expected = {key: truth.videos[key[0]].num_frames for key in keys}
    missing = {
        key: [index for index in frames if index in range(expected[key])[counted]]
        for key, frames in find_missing(expected, answers.frames()).items()
    }
    missing = {key: frames for key, frames in missing.items() if frames}
    if missing and not request.allow_missing:
        count = _count(missing)
        raise InputError(
            f"{request.predictions}: {count['frames']} masks are missing, of {count['expressions']} of {len(expected)}"
            f" expressions, and a mean over the rest would mislead: {name_some(describe_missing(missing, expected))}."
            " Add them, or score them 0 with --allow-missing."
        )
    return missing


def _count(missing: Mapping[Key, Sequence[int]]) -> dict[str, int]:
    return {"expressions": len(missing), "frames": sum(len(frames) for frames in missing.values())}
