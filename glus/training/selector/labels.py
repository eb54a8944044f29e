"""Pseudo-labels joined with the staged videos they speak of (paper 4.4, B.4), checked row by row.

`B` labelled expressions of a video, `T` frames.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from glus.errors import ArtifactError, InputError
from glus.records.split import StagedSplit
from glus.records.tables import read_table
from glus.records.video import Expression, Video

_EXPRESSION = ["dataset", "split", "video_id", "expression_id"]


@dataclass(frozen=True)
class LabelledVideo:
    """One video and the score that each of its frames should get.

    Attributes:
        split: where the video is staged.
        video: its frames.
        expressions: those that were labelled.
        targets: float32 [B, T], in 0..1.
    """

    split: StagedSplit
    video: Video
    expressions: tuple[Expression, ...]
    targets: np.ndarray

    @property
    def name(self) -> str:
        """`dataset/split/video`, unique among all videos."""
        return f"{self.split.dataset}/{self.split.split}/{self.video.video_id}"


def read_labels(
    directory: Path, splits: Mapping[str, StagedSplit], checkpoint_sha256: str, *, absent_is_ideal: bool
) -> list[LabelledVideo]:
    """Reads a folder of label shards.

    Args:
        directory: Parquet files of the schema `pseudolabels`.
        splits: staged training splits by name (`synthetic/train`).
        checkpoint_sha256: hash of the weights whose labels are wanted.
        absent_is_ideal: what becomes of frames where the target is absent and nothing was predicted. Their IoU is 1 by
            the published helper, which teaches them as ideal key frames (true); a frame that does not show the target
            cannot start its track, so its target is 0 (false).

    Returns:
        Videos sorted by name, their expressions in the staged order.

    Raises:
        InputError: a row of another checkpoint, of something that is not staged, doubled, or with an IoU outside
            0..1; an expression with frames left out. Names file and row.
        ArtifactError: no label files, or files of another schema.
    """
    rows = _read_rows(directory)
    _check_values(rows, checkpoint_sha256)
    unseen = ~rows["target_present"] & (rows["predicted_area_px"] == 0)
    rows["target"] = rows["iou"].where(~unseen, 1.0 if absent_is_ideal else 0.0)
    groups = [group for _, group in rows.groupby(_EXPRESSION)]
    videos = [_staged_video(group, splits) for group in groups]
    tracks: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for group, video in zip(groups, videos, strict=True):
        dataset, split_name, video_id, expression_id = group.iloc[0][_EXPRESSION]
        tracks.setdefault((f"{dataset}/{split_name}", video_id), {})[expression_id] = _track(group, video)
    labelled = []
    for (split_name, video_id), track in sorted(tracks.items()):
        split = splits[split_name]
        chosen = tuple(item for item in split.expressions[video_id] if item.expression_id in track)
        targets = np.stack([track[item.expression_id] for item in chosen])
        labelled.append(LabelledVideo(split, split.videos[video_id], chosen, targets))
    return labelled


def _read_rows(directory: Path) -> pd.DataFrame:
    """All rows, each with the file it comes from and its number there (from 0)."""
    files = sorted(directory.glob("*.parquet"))
    if not files:
        raise ArtifactError(f"{directory}: no pseudolabels table there; run `glus pseudolabel` first.")
    tables = []
    for file in files:
        table = read_table("pseudolabels", file).to_pandas()
        tables.append(table.assign(file=str(file), row=range(len(table))))
    return pd.concat(tables, ignore_index=True)


def _check_values(rows: pd.DataFrame, checkpoint_sha256: str) -> None:
    wrong = ~rows["iou"].between(0, 1)
    if wrong.any():
        raise InputError(f"{_place(rows[wrong])}: iou is {rows[wrong]['iou'].iloc[0]:g}, expected 0 to 1.")
    wrong = rows["checkpoint_sha256"] != checkpoint_sha256
    if wrong.any():
        found = rows[wrong]["checkpoint_sha256"].iloc[0]
        raise InputError(
            f"{_place(rows[wrong])}: labelled by checkpoint {found[:12]}, expected {checkpoint_sha256[:12]}"
            " (pseudolabel.checkpoint); run `glus pseudolabel` again."
        )
    wrong = rows.duplicated([*_EXPRESSION, "frame_index"])
    if wrong.any():
        raise InputError(f"{_place(rows[wrong])}: this frame of this expression is labelled twice.")


def _staged_video(group: pd.DataFrame, splits: Mapping[str, StagedSplit]) -> Video:
    """The staged video that an expression's rows speak of."""
    dataset, split_name, video_id, expression_id = group.iloc[0][_EXPRESSION]
    split = splits.get(f"{dataset}/{split_name}")
    if split is None:
        raise InputError(f"{_place(group)}: {dataset}/{split_name} is not among the staged splits of data.train.")
    if video_id not in split.videos:
        raise InputError(f"{_place(group)}: video {video_id} is not in the staged {dataset}/{split_name}.")
    if all(item.expression_id != expression_id for item in split.expressions[video_id]):
        raise InputError(f"{_place(group)}: video {video_id} has no expression {expression_id} in {split.directory}.")
    return split.videos[video_id]


def _track(group: pd.DataFrame, video: Video) -> np.ndarray:
    """Targets of one expression in the order of the frames, float32 [T]."""
    names = dict(enumerate(video.frame_names))
    wrong = group["frame_index"].map(names) != group["frame_name"]
    if wrong.any():
        row = group[wrong].iloc[0]
        raise InputError(
            f"{_place(group[wrong])}: frame {row['frame_index']} of video {video.video_id} is"
            f" {names.get(row['frame_index'], 'not there')}, the label speaks of {row['frame_name']}."
        )
    if len(group) != video.num_frames:
        raise InputError(
            f"{_place(group)}: expression {group['expression_id'].iloc[0]} of video {video.video_id} has labels for"
            f" {len(group)} of {video.num_frames} frames; run `glus pseudolabel` again."
        )
    return group.sort_values("frame_index")["target"].to_numpy(np.float32)


def _place(rows: pd.DataFrame) -> str:
    return f"{rows['file'].iloc[0]}, row {rows['row'].iloc[0]}"


def hold_out(
    videos: Sequence[LabelledVideo], share: float, seed: int
) -> tuple[list[LabelledVideo], list[LabelledVideo]]:
    """Parts videos into those trained on and those validated on.

    A seeded hash of a video's name decides, so that a video keeps its side when others come or go; the share is met
    on average, and one video at least is held out unless the share is 0.

    Raises:
        InputError: nothing would be left to train on.
    """
    held = {video.name for video in videos if _hash_share(video.name, seed) < share}
    if share > 0 and not held:
        held = {min(videos, key=lambda video: _hash_share(video.name, seed)).name}
    if len(held) == len(videos):
        raise InputError(f"selector.held_out: {share} of {len(videos)} labelled videos leaves none to train on.")
    return [v for v in videos if v.name not in held], [v for v in videos if v.name in held]


def _hash_share(name: str, seed: int) -> float:
    """A number in 0..1 that depends on the name and the seed alone."""
    digest = hashlib.sha256(f"selector/{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
