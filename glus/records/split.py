"""A staged split, read from its Parquet tables one video at a time."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np

from glus.errors import ArtifactError
from glus.masks import decode_rle, union
from glus.records.tables import read_table
from glus.records.video import Expression, Video
from glus.records.video_table import VideoTable


class StagedSplit:
    """A staged split: videos, expressions and ground-truth masks, read from its three Parquet tables.

    The mask table stays on disk. A video's masks are a row group of it, read when they are asked for, and those of the
    latest video are kept: no process, and no data worker, ever holds the masks of a split.

    Args:
        directory: `data/staged/<dataset>/<split>`.
        frames_root: the folder that `Video.frame_dir` is relative to (the raw dataset's root).
    """

    def __init__(self, directory: Path, frames_root: Path) -> None:
        self.directory = directory
        self.frames_root = frames_root
        self.dataset, self.split = directory.parent.name, directory.name
        self._latest_tracks: tuple[str | None, dict[str, dict[int, str]]] = None, {}

    def __reduce__(self) -> tuple[type[StagedSplit], tuple[Path, Path]]:
        """Another process opens the tables itself."""
        return StagedSplit, (self.directory, self.frames_root)

    @cached_property
    def videos(self) -> dict[str, Video]:
        """Videos by id, in the order of the table."""
        rows = read_table("videos", self.directory / "videos.parquet").to_pylist()
        return {
            row["video_id"]: Video(
                row["video_id"],
                row["num_frames"],
                row["height_px"],
                row["width_px"],
                tuple(row["frame_names"]),
                row["frame_dir"],
                tuple(row["grey_frames"] or ()),
            )
            for row in rows
        }

    @cached_property
    def expressions(self) -> dict[str, list[Expression]]:
        """Expressions of each video, in the order of the table."""
        grouped: dict[str, list[Expression]] = {video_id: [] for video_id in self.videos}
        for row in read_table("expressions", self.directory / "expressions.parquet").to_pylist():
            grouped[row["video_id"]].append(
                Expression(
                    row["video_id"],
                    row["expression_id"],
                    row["expression"],
                    tuple(row["object_ids"] or ()),
                    tuple(row["annotation_ids"] or ()),
                    row["family"],
                )
            )
        return grouped

    @property
    def has_masks(self) -> bool:
        """Whether the split comes with ground truth (a server split has none)."""
        return self._masks.num_rows > 0

    @cached_property
    def _masks(self) -> VideoTable:
        return VideoTable("masks", self.directory / "masks.parquet")

    def mask_rles(self, video_id: str) -> dict[str, dict[int, str]]:
        """Run lengths of one video: annotation id -> frame index -> compressed counts (absent frames left out).

        Raises:
            ArtifactError: the table is damaged, or has two masks of an annotation in one frame.
        """
        if self._latest_tracks[0] != video_id:
            self._latest_tracks = video_id, self._read_tracks(video_id)
        return self._latest_tracks[1]

    def _read_tracks(self, video_id: str) -> dict[str, dict[int, str]]:
        tracks: dict[str, dict[int, str]] = {}
        for annotation, frame, counts in self._masks.rows(video_id, ("annotation_id", "frame_index", "rle_counts")):
            if tracks.setdefault(annotation, {}).setdefault(frame, counts) is not counts:
                raise ArtifactError(
                    f"{self._masks.file}: annotation {annotation} of video {video_id} has two masks in"
                    f" frame {frame}. Run `glus stage` again."
                )
        return tracks

    def target_masks(self, expression: Expression, frame_indices: Iterable[int]) -> np.ndarray:
        """Ground truth of an expression: the union of its annotations, bool [T, H, W] for the given frames."""
        video = self.videos[expression.video_id]
        size = video.height_px, video.width_px
        tracks = self.mask_rles(expression.video_id)
        chosen = [tracks[annotation] for annotation in expression.annotation_ids if annotation in tracks]
        frames = list(frame_indices)
        masks = np.zeros((len(frames), *size), dtype=bool)
        for rows, index in zip(masks, frames, strict=True):
            mask = union((decode_rle(track[index], *size) for track in chosen if index in track), *size)
            covered = np.flatnonzero(mask.any(axis=0))
            columns = slice(covered[0], covered[-1] + 1) if len(covered) else slice(0)
            rows[:, columns] = mask[:, columns]  # from columns to rows is slow, so no more than is needed
        return masks

    def frame_path(self, video: Video, index: int) -> Path:
        """Path of one frame."""
        return self.frames_root / video.frame_dir / f"{video.frame_names[index]}.jpg"
