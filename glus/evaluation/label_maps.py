"""DAVIS's protocols on files: objects of ground-truth label maps, answered by label maps or by expressions' masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glus.errors import InputError
from glus.evaluation.answers import PngTrack, clip_of, read_files
from glus.metrics import davis
from glus.metrics.davis import ObjectScore, ObjectScores
from glus.metrics.grouping import Grouped
from glus.metrics.scoring import Track
from glus.metrics.spans import NOTHING, Clip, FrameSpans, Spans, read_spans, subtract
from glus.records.video import Expression, Video
from glus.staging.files.mask_files import VOID

ANNOTATORS = tuple(f"anno_{number}" for number in range(davis.NUM_ANNOTATORS))

Scores = tuple[np.ndarray, np.ndarray]  # J and F, float64 [O, T] each
Scorer = Callable[[list[Spans], list[Spans], Spans, Clip], Scores]


@dataclass(frozen=True)
class LabelMapProtocol:
    """A protocol that scores the objects of label maps.

    Attributes:
        annotators: folders of the prediction, each with all videos; their means are averaged.
        score: from predicted objects by label, the objects and void pixels to J and F of each object.
        counted: the frames that count.
    """

    name: str
    version: int
    datasets: tuple[str, ...]
    rule: str
    annotators: tuple[str, ...]
    score: Scorer
    counted: slice

    def average(self, by_annotator: Sequence[Sequence[ObjectScore]]) -> Grouped[ObjectScores]:
        """The numbers of a split, and of each annotator where there are several."""
        if len(self.annotators) == 1:
            return Grouped(davis.average_objects(by_annotator[0]), {})
        return davis.average_annotators(by_annotator)


def _score_official(pred: list[Spans], gt: list[Spans], void: Spans, clip: Clip) -> Scores:
    pred, gt = ([subtract(track, [void]) for track in tracks] for tracks in (pred, gt))
    return davis.score_unsupervised(pred, gt, clip)[:2]


def _score_semi_supervised(pred: list[Spans], gt: list[Spans], void: Spans, clip: Clip) -> Scores:
    """Void pixels are background here, as in the official script."""
    if len(pred) > len(gt):
        raise InputError(f"label {len(pred)} is predicted, but there are only {len(gt)} objects in the first frame")
    return davis.score_objects([*pred, *[NOTHING] * (len(gt) - len(pred))], gt, clip)


LABEL_MAP_PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        LabelMapProtocol(
            "ref_davis17_official",
            2,
            ("ref_davis17",),
            "per annotator the best assignment of labels to objects of the first frame in each video, then a mean over"
            " objects; the mean of four annotators",
            ANNOTATORS,
            _score_official,
            slice(None),
        ),
        LabelMapProtocol(
            "davis17_semi_supervised",
            2,
            ("ref_davis17",),
            "objects of the first frame; frames but the first and the last, then a mean over objects",
            ("",),
            _score_semi_supervised,
            slice(1, -1),
        ),
    )
}


@dataclass(frozen=True)
class LabelMapTask:
    """All that the scores of one video need.

    Attributes:
        truth: the ground truth's label maps.
        answers: by annotator, its label maps, or the track of each object by its label.
    """

    video: Video
    truth: PngTrack
    answers: tuple[PngTrack | Mapping[int, Track | PngTrack], ...]


def label_map_of(video: Video, folder: Path) -> PngTrack:
    """The ground truth of a video."""
    return PngTrack(folder, {index: f"{name}.png" for index, name in enumerate(video.frame_names)})


def answers_by_annotator(
    expressions: Sequence[Expression], tracks: Mapping[str, Track | PngTrack]
) -> tuple[dict[int, Track | PngTrack], ...]:
    """The tracks of a video's expressions as answers about its objects: expression 4 k + a is annotator a's.

    Raises:
        InputError: an expression whose id or object is no number, or an object with two expressions of one annotator.
    """
    answers: tuple[dict[int, Track | PngTrack], ...] = tuple({} for _ in ANNOTATORS)
    for item in expressions:
        place = f"video {item.video_id}, expression {item.expression_id}"
        if not item.expression_id.isdecimal() or len(item.object_ids) != 1 or not item.object_ids[0].isdecimal():
            raise InputError(
                f"{place} about {', '.join(item.object_ids)}: ids of expression and object must be numbers."
            )
        label, of_annotator = int(item.object_ids[0]), answers[int(item.expression_id) % davis.NUM_ANNOTATORS]
        if label in of_annotator:
            raise InputError(f"{place}: its annotator has another expression about object {label}.")
        of_annotator[label] = tracks.get(item.expression_id, {})
    return answers


def score_label_maps(task: LabelMapTask, protocol: LabelMapProtocol) -> list[list[ObjectScore]]:
    """Scores the objects of one video's first frame, by annotator; none where there is none.

    A frame without a prediction scores 0.

    Raises:
        InputError: an unreadable file, one of another size, or too many labels; names it.
    """
    video = task.video
    down_columns = not all(isinstance(answer, PngTrack) for answer in task.answers)
    clip = clip_of(video) if down_columns else Clip(video.num_frames, video.width_px, video.height_px)
    labels = task.truth.read_labels(video, down_columns)
    void = labels.pop(VOID, NOTHING)
    objects = _up_to(_first_frame_objects(labels, clip), labels)
    if not objects:
        return [[] for _ in task.answers]
    results = []
    for answer in task.answers:
        pred, predicted = _read_answer(answer, video, clip, range(video.num_frames)[protocol.counted], down_columns)
        try:
            j, f = protocol.score(pred, objects, void, clip)
        except InputError as error:
            raise InputError(f"video {video.video_id}: {error}.") from error
        missing = [index for index in range(video.num_frames) if index not in predicted]
        j[:, missing] = f[:, missing] = 0
        results.append(
            [
                ObjectScore(video.video_id, str(label), tuple(of_j.tolist()), tuple(of_f.tolist()))
                for label, (of_j, of_f) in enumerate(
                    zip(j[:, protocol.counted], f[:, protocol.counted], strict=True), 1
                )
            ]
        )
    return results


def _first_frame_objects(labels: Mapping[int, Spans], clip: Clip) -> int:
    """How many objects count: those up to the largest label of the first frame, as in the official script.

    What first appears later is not scored, in neither task; nor is it void.
    """
    return max((label for label, track in labels.items() if track.starts[0] < clip.frame_px), default=0)


def _up_to(last: int, labels: Mapping[int, Spans]) -> list[Spans]:
    """The objects of label maps from label 1 on."""
    return [labels.get(label, NOTHING) for label in range(1, last + 1)]


def _read_answer(
    answer: PngTrack | Mapping[int, Track | PngTrack], video: Video, clip: Clip, counted: range, down_columns: bool
) -> tuple[list[Spans], set[int]]:
    """The predicted objects by label, up to the largest in a frame that counts, and the frames that are predicted."""
    if isinstance(answer, PngTrack):
        labels = answer.read_labels(video, down_columns)
        seen = {label: track.starts // clip.frame_px for label, track in labels.items()}
        largest = max((label for label, frames in seen.items() if np.isin(frames, counted).any()), default=0)
        return _up_to(largest, labels), set(answer.files)
    tracks, frames = {}, []
    for label, track in answer.items():
        read = read_files(track, video)
        tracks[label] = read.spans if isinstance(read, FrameSpans) else read_spans(read.items(), clip)
        frames.append(set(read.frames if isinstance(read, FrameSpans) else read))
    predicted = set.intersection(*frames) if frames else set()
    return davis.first_of_each_pixel(_up_to(max(tracks, default=0), tracks)), predicted
