"""Predicted masks of one split and what the selector said of its frames, checked before anything is scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from glus.errors import ArtifactError
from glus.evaluation.completeness import require_complete
from glus.paths import PREDICTIONS, key_frame_table
from glus.records.ground_truth import GroundTruth
from glus.records.split import StagedSplit
from glus.records.tables import read_table
from glus.records.video import Expression, Key, Video
from glus.records.video_table import VideoTable

COLUMNS = ("video_id", "expression_id", "frame_index", "height_px", "width_px", "rle_counts")
Tracks = dict[Key, dict[int, str]]  # predicted run lengths by frame


@dataclass(frozen=True)
class Predictions:
    """All that was predicted for one split.

    Attributes:
        tracks: the model's masks of every expression.
        comparisons: name of another way to predict -> its masks, of some families or all.
        frame_scores: the selector's score of each frame.
        key_frames: index of each expression's key frame.
    """

    tracks: Tracks
    comparisons: dict[str, Tracks]
    frame_scores: dict[Key, list[float]]
    key_frames: dict[Key, int]


def expressions_by_key(split: GroundTruth) -> dict[Key, Expression]:
    """Every expression of a split, in the order of its table."""
    return {(video_id, item.expression_id): item for video_id, items in split.expressions.items() for item in items}


def read_predictions(split: StagedSplit) -> Predictions:
    """Reads `predictions/<dataset>/<split>/` with its comparisons, and the split's key frames.

    Raises:
        ArtifactError: a table is missing, or holds a mask twice or of another size than its video.
        InputError: expressions or frames are missing; names them.
    """
    folder = PREDICTIONS / split.dataset / split.split
    expressions = expressions_by_key(split)
    expected = {key: split.videos[key[0]].num_frames for key in expressions}
    source = folder / "predictions.parquet"
    tracks = read_tracks(source, split.videos)
    require_complete(expected, tracks, str(source))
    comparisons = {}
    for source in sorted(folder.glob("comparisons/*/predictions.parquet")):
        compared = read_tracks(source, split.videos)
        families = {expressions[key].family for key in compared.keys() & expressions.keys()}
        of_families = {key: expected[key] for key, item in expressions.items() if item.family in families}
        require_complete(of_families, compared, str(source))
        comparisons[source.parent.name] = compared
    return Predictions(tracks, comparisons, *_read_keyframes(split))


def read_tracks(source: Path, videos: Mapping[str, Video]) -> Tracks:
    """Reads a table of predictions.

    Raises:
        ArtifactError: it is missing, or holds a mask twice or of another size than its video.
    """
    table = read_table("predictions", source, list(COLUMNS))
    return _tracks(source, zip(*(table[column].to_pylist() for column in COLUMNS), strict=True), videos)


class VideoPredictions:
    """The same tables, read one video at a time.

    Args:
        split: whose predictions are read.
    """

    def __init__(self, split: StagedSplit) -> None:
        folder = PREDICTIONS / split.dataset / split.split
        self._videos = split.videos
        self._table = VideoTable("predictions", folder / "predictions.parquet")
        self._comparisons = {
            file.parent.name: VideoTable("predictions", file)
            for file in sorted(folder.glob("comparisons/*/predictions.parquet"))
        }

    def tracks(self, video_id: str) -> dict[str, dict[int, str]]:
        """Run lengths by expression id and frame. Raises as `read_tracks`."""
        return self._read(self._table, video_id)

    def mean_logits(self, video_id: str) -> dict[str, float]:
        """Mean over its frames with a mask of the mean logit of each expression that has any."""
        found: dict[str, list[float]] = {}
        for name, logit in self._table.rows(video_id, ("expression_id", "mean_logit")):
            if logit is not None:
                found.setdefault(name, []).append(logit)
        return {name: fmean(logits) for name, logits in found.items()}

    def comparisons(self, video_id: str) -> dict[str, dict[str, dict[int, str]]]:
        """Name of another way to predict -> run lengths by expression id and frame, of some expressions."""
        return {name: self._read(table, video_id) for name, table in self._comparisons.items()}

    def _read(self, table: VideoTable, video_id: str) -> dict[str, dict[int, str]]:
        rows = ((video_id, *values) for values in table.rows(video_id, COLUMNS[1:]))
        return {name: track for (_, name), track in _tracks(table.file, rows, self._videos).items()}


def _tracks(source: Path, rows: Iterable[tuple[Any, ...]], videos: Mapping[str, Video]) -> Tracks:
    """Rows of `COLUMNS`, checked."""
    tracks: Tracks = {}
    for video_id, expression_id, index, height, width, counts in rows:
        video = videos.get(video_id)
        if video and (height, width) != (video.height_px, video.width_px):
            raise ArtifactError(
                f"{source}: video {video_id}, expression {expression_id}, frame {index} is {height} x {width} pixels,"
                f" the video is {video.height_px} x {video.width_px}. Run `glus propagate` again."
            )
        track = tracks.setdefault((video_id, expression_id), {})
        if index in track:
            raise ArtifactError(
                f"{source}: video {video_id}, expression {expression_id}, frame {index} is predicted twice."
                " Run `glus propagate` again."
            )
        track[index] = counts
    return tracks


def _read_keyframes(split: StagedSplit) -> tuple[dict[Key, list[float]], dict[Key, int]]:
    source = key_frame_table(f"{split.dataset}/{split.split}")
    table = read_table("keyframes", source)
    table = table.sort_by([(name, "ascending") for name in ("video_id", "expression_id", "frame_index")])
    scores: dict[Key, list[float]] = {}
    key_frames: dict[Key, int] = {}
    for row in table.to_pylist():
        key = row["video_id"], row["expression_id"]
        scores.setdefault(key, []).append(row["score"])
        if row["is_key_frame"] and key_frames.setdefault(key, row["frame_index"]) != row["frame_index"]:
            raise ArtifactError(
                f"{source}: video {key[0]}, expression {key[1]} has two key frames, {key_frames[key]} and"
                f" {row['frame_index']}. Run `glus keyframes` again."
            )
    return scores, key_frames


def read_used_key_frames(split: StagedSplit) -> dict[str, dict[Key, int]]:
    """Key frames of the predictions of a split: source -> expression -> frame; empty where they were not written.

    Raises:
        ArtifactError: not a table of key frames, or a frame that its video does not have.
    """
    path = PREDICTIONS / split.dataset / split.split / "anchors.parquet"
    key_frames: dict[str, dict[Key, int]] = {}
    for row in read_table("anchors", path).to_pylist() if path.exists() else ():
        video = split.videos.get(row["video_id"])
        if video is None or not 0 <= row["frame_index"] < video.num_frames:
            raise ArtifactError(
                f"{path}: {row['source']} of video {row['video_id']}, expression {row['expression_id']} is frame"
                f" {row['frame_index']}, which the split does not have. Run `glus propagate` again."
            )
        key_frames.setdefault(row["source"], {})[row["video_id"], row["expression_id"]] = row["frame_index"]
    return key_frames
