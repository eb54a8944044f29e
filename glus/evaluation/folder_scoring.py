"""A folder of predictions, ours or another model's: opened, counted, scored video by video, averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from glus.errors import InputError, name_some
from glus.evaluation.answers import Answers, PngTrack, find_answers, find_label_maps, read_files
from glus.evaluation.completeness import describe_missing, find_missing
from glus.evaluation.label_maps import (
    LABEL_MAP_PROTOCOLS,
    LabelMapProtocol,
    LabelMapTask,
    answers_by_annotator,
    label_map_of,
    score_label_maps,
)
from glus.evaluation.predictions import expressions_by_key
from glus.evaluation.scorecard import (
    ExpressionScorecard,
    Heading,
    Missing,
    ObjectScorecard,
    Scorecard,
    num_missing,
)
from glus.evaluation.truth import LABEL_MAPS, SCORES, PublishedTruth, open_ground_truth, release_of
from glus.execution.processes import map_in_processes
from glus.execution.progress import show_bar
from glus.metrics.boundary import BOUND_TH
from glus.metrics.protocols import PROTOCOLS, Protocol, dataset_version, protocol_of
from glus.metrics.scoring import ExpressionScore, Measures, Track, VideoTask, score_predictions
from glus.records.ground_truth import GroundTruth
from glus.records.split import StagedSplit
from glus.records.video import Key, Video


@dataclass(frozen=True)
class Request:
    """What to score, and how.

    Attributes:
        root: the dataset as published, or the folder of staged datasets.
        predictions: a folder of PNG files or our Parquet.
        protocol: its name; None is the dataset's own.
        links: folders that symbolic links of the dataset may lead into.
        allow_missing: score 0 what is missing, instead of refusing.
    """

    dataset: str
    root: Path
    split: str
    predictions: Path
    protocol: str | None
    allow_missing: bool
    processes: int
    links: tuple[Path, ...]


def score_folder(request: Request) -> Scorecard:
    """Scores a folder of predictions.

    Raises:
        InputError: the dataset or the predictions are faulty or incomplete; names what.
    """
    protocol = find_protocol(request.dataset, request.protocol)
    depth = LABEL_MAPS if isinstance(protocol, LabelMapProtocol) else SCORES
    truth = open_ground_truth(request.dataset, request.root, request.split, request.processes, request.links, depth)
    if isinstance(protocol, LabelMapProtocol):
        return _score_objects(request, protocol, truth)
    return _score_expressions(request, protocol, truth)


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
    if protocol.datasets and dataset not in protocol.datasets and protocol != protocol_of(dataset):
        raise InputError(f"{name} is a protocol of {', '.join(protocol.datasets)}, not of {dataset}.")
    return protocol


def _heading(
    request: Request, protocol: Protocol | LabelMapProtocol, truth: StagedSplit | PublishedTruth, num_expressions: int
) -> Heading:
    release = dataset_version(request.dataset, request.split, num_expressions, release_of(truth))
    return Heading(request.dataset, request.split, protocol.rule, protocol.name, protocol.version, release)


def _score_expressions(
    request: Request, protocol: Protocol, truth: StagedSplit | PublishedTruth
) -> ExpressionScorecard:
    answers = find_answers(request.predictions, truth)
    expressions = expressions_by_key(truth)
    missing = _missing(request, truth, answers, expressions)
    scores = score_answers(truth, answers, request.processes, protocol.further)
    return ExpressionScorecard(
        heading=_heading(request, protocol, truth, len(expressions)),
        num_videos=len(truth.videos),
        num_expressions=len(expressions),
        missing=missing,
        notes=[*answers.notes, *([f"{protocol.name}: {protocol.caution}."] if protocol.caution else [])],
        means=protocol.summarise(scores),
        scores=scores,
    )


def score_answers(
    truth: GroundTruth, answers: Answers, processes: int, further: Measures | None = None
) -> list[ExpressionScore]:
    """Scores every expression of a split; a frame that is not answered scores 0.

    Args:
        further: measures that the protocol alone has.

    Raises:
        InputError: a mask cannot be used; names it.
    """
    jobs = (_job(truth, video, answers) for video in truth.videos.values())
    build = partial(partial, _score_video, further=further)
    of_videos = _in_processes(build, jobs, processes, f"{truth.dataset}/{truth.split}", len(truth.videos))
    return [score for of_video in of_videos for score in of_video]


def _job(truth: GroundTruth, video: Video, answers: Answers) -> tuple[VideoTask, dict[str, Track | PngTrack]]:
    asked = truth.expressions[video.video_id]
    names = [item.expression_id for item in asked]
    tracks = {name: answers.tracks.get((video.video_id, name), {}) for name in names}
    task = VideoTask(truth.dataset, truth.split, video, tuple(asked), truth.mask_rles(video.video_id), {})
    return task, tracks


def _score_video(job: tuple[VideoTask, dict[str, Track | PngTrack]], further: Measures | None) -> list[ExpressionScore]:
    task, tracks = job
    masks = {name: read_files(track, task.video) for name, track in tracks.items()}
    return score_predictions(replace(task, predictions=masks), BOUND_TH, further)


def _score_objects(
    request: Request, protocol: LabelMapProtocol, truth: StagedSplit | PublishedTruth
) -> ObjectScorecard:
    if not isinstance(truth, PublishedTruth) or not truth.label_maps:
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
    counted = {name: video for name, video in truth.videos.items() if range(video.num_frames)[protocol.counted]}
    tasks = (_object_task(truth, video, answers, protocol) for video in counted.values())
    build = partial(partial, score_label_maps, protocol=protocol)
    place = f"{request.dataset}/{request.split}"
    of_videos = _in_processes(build, tasks, request.processes, place, len(counted))
    empty = [name for name, of_video in zip(counted, of_videos, strict=True) if not of_video[0]]
    notes = _left_out(truth.videos.keys() - counted.keys(), "of their frames none counts")
    notes += _left_out(empty, "their first frame shows no object")
    if len(empty) == len(counted):
        raise InputError(f"{protocol.name} has nothing to score in {place}: {' '.join(notes)}")
    by_annotator = [
        [score for of_video in of_videos for score in of_video[number]] for number in range(len(protocol.annotators))
    ]
    return ObjectScorecard(
        heading=_heading(request, protocol, truth, len(expressions)),
        num_videos=len(counted) - len(empty),
        num_expressions=len(expressions),
        missing=missing,
        notes=[*answers.notes, *notes],
        means=protocol.average(by_annotator),
        scores=dict(zip(protocol.annotators, by_annotator, strict=True)),
    )


def _left_out(videos: Iterable[str], why: str) -> list[str]:
    """One note about videos that are not scored, where there are any."""
    names = sorted(videos)
    return [f"{len(names)} videos are left out, because {why}: {name_some(names)}."] if names else []


def _object_task(truth: PublishedTruth, video: Video, answers: Answers, protocol: LabelMapProtocol) -> LabelMapTask:
    gt = label_map_of(video, truth.label_maps[video.video_id])
    if any(name in protocol.annotators for _, name in answers.tracks):
        label_maps = (answers.tracks.get((video.video_id, name)) for name in protocol.annotators)
        return LabelMapTask(video, gt, tuple(item if isinstance(item, PngTrack) else {} for item in label_maps))
    tracks = {name: track for (video_id, name), track in answers.tracks.items() if video_id == video.video_id}
    return LabelMapTask(video, gt, answers_by_annotator(truth.expressions[video.video_id], tracks))


def _in_processes(
    build: Callable[[], Callable[[Any], Any]], jobs: Iterable[Any], processes: int, place: str, num_videos: int
) -> list[Any]:
    """The results of all videos, in their order."""
    finished = map_in_processes(build, jobs, min(processes, num_videos))
    return list(show_bar(finished, f"scores of {place}", total=num_videos))


def _missing(
    request: Request, truth: GroundTruth, answers: Answers, keys: Iterable[Key], counted: slice = slice(None)
) -> Missing:
    """What is not predicted, which is refused unless it may score 0."""
    expected = {key: truth.videos[key[0]].num_frames for key in keys}
    missing = {
        key: [index for index in frames if index in range(expected[key])[counted]]
        for key, frames in find_missing(expected, answers.frames()).items()
    }
    missing = {key: frames for key, frames in missing.items() if frames}
    if missing and not request.allow_missing:
        noted = "".join(f" {note}." for note in answers.notes)
        raise InputError(
            f"{request.predictions}: {num_missing(missing)} masks are missing, of {len(missing)} of {len(expected)}"
            f" expressions, and a mean over the rest would mislead: {name_some(describe_missing(missing, expected))}."
            f"{noted} Add them, or score them 0 with --allow-missing."
        )
    return missing
