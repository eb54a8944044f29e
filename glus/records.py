"""What a video, an expression and a mask track are on disk: Parquet schemas, their readers and writers.

Every file carries its schema's name and version in its metadata; pandas, DuckDB and `datasets` open them as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from glus.errors import ArtifactError
from glus.masks import decode_rle, union

SCHEMA_VERSION = 1

_KEY = [("dataset", pa.string()), ("split", pa.string()), ("video_id", pa.string())]
_EXPRESSION_KEY = [*_KEY, ("expression_id", pa.string())]
_RLE = [("height_px", pa.int32()), ("width_px", pa.int32()), ("rle_counts", pa.string())]

SCHEMAS: dict[str, pa.Schema] = {
    name: pa.schema(fields, metadata={"glus.schema": name, "glus.schema_version": str(SCHEMA_VERSION)})
    for name, fields in {
        # grey_frames: frames to be scored apart (the synthetic set's grey intervals); empty elsewhere
        "videos": [
            *_KEY,
            ("num_frames", pa.int32()),
            ("height_px", pa.int32()),
            ("width_px", pa.int32()),
            ("frame_names", pa.list_(pa.string())),
            ("frame_dir", pa.string()),
            ("grey_frames", pa.list_(pa.int32())),
        ],
        # family: what an expression speaks of, where the set says so; null elsewhere
        "expressions": [
            *_EXPRESSION_KEY,
            ("expression", pa.string()),
            ("object_ids", pa.list_(pa.string())),
            ("annotation_ids", pa.list_(pa.string())),
            ("family", pa.string()),
        ],
        # only frames where the object is present; sorted by video, annotation, frame
        "masks": [
            *_KEY,
            ("annotation_id", pa.string()),
            ("frame_index", pa.int32()),
            *_RLE,
            ("area_px", pa.int64()),
        ],
        "pseudolabels": [
            *_EXPRESSION_KEY,
            ("frame_index", pa.int32()),
            ("frame_name", pa.string()),
            ("iou", pa.float32()),
            ("target_present", pa.bool_()),
            ("predicted_area_px", pa.int64()),
            ("seg_token_generated", pa.bool_()),
            ("checkpoint_step", pa.int32()),
            ("checkpoint_sha256", pa.string()),
            ("shard", pa.int32()),
        ],
        "keyframes": [
            *_EXPRESSION_KEY,
            ("frame_index", pa.int32()),
            ("score", pa.float32()),
            ("is_key_frame", pa.bool_()),
        ],
        "predictions": [
            *_EXPRESSION_KEY,
            ("frame_index", pa.int32()),
            *_RLE,
            ("seg_token_generated", pa.bool_()),
        ],
        # where segmentation started from; source: `selected`, or a comparison's
        "anchors": [*_EXPRESSION_KEY, ("source", pa.string()), ("frame_index", pa.int32())],
        "per_expression": [
            *_EXPRESSION_KEY,
            ("family", pa.string()),
            ("j", pa.float64()),
            ("f", pa.float64()),
            ("jf", pa.float64()),
            ("num_frames", pa.int32()),
            ("key_frame_index", pa.int32()),
            ("oracle_key_frame_index", pa.int32()),
            ("referent_correct", pa.bool_()),
        ],
        # what is wrong with the raw data; the file is relative to the dataset's root, a record lies in it
        "staging_errors": [
            ("dataset", pa.string()),
            ("split", pa.string()),
            ("severity", pa.string()),
            ("file", pa.string()),
            ("record", pa.string()),
            ("problem", pa.string()),
            ("action", pa.string()),
        ],
    }.items()
}


def write_table(schema: str, rows: Iterable[Mapping[str, Any]] | pa.Table, path: Path) -> None:
    """Writes rows as one Parquet file of the named schema, beside the target first and renamed when complete.

    Args:
        rows: a table, or dictionaries whose keys are exactly the columns of the schema.

    Raises:
        ValueError: a row lacks a column or holds an unknown one.
    """
    if not isinstance(rows, pa.Table):
        layout = SCHEMAS[schema]
        rows = list(rows)
        for row in rows:
            if row.keys() != set(layout.names):
                raise ValueError(f"{schema}: columns {sorted(row.keys() ^ set(layout.names))} are missing or unknown")
        rows = pa.Table.from_pylist(rows, schema=layout)
    write_row_groups(schema, [rows], path)


def write_row_groups(schema: str, tables: Iterable[pa.Table], path: Path) -> int:
    """Writes tables as the row groups of one Parquet file, of which one at a time is in memory; returns the rows.

    The file is written beside the target first and renamed when complete.
    """
    layout = SCHEMAS[schema]
    words = [name for name in layout.names if name != "rle_counts"]  # no run lengths are worth a dictionary
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    num_rows = 0
    with pq.ParquetWriter(aside, layout, compression="zstd", use_dictionary=words, write_page_checksum=True) as writer:
        for table in tables:
            writer.write_table(table.select(layout.names).cast(layout))
            num_rows += table.num_rows
    aside.replace(path)
    return num_rows


def read_table(schema: str, path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a Parquet file, or every Parquet file of a folder in name order, of the named schema.

    Raises:
        ArtifactError: nothing there, not a Parquet file, damaged, or a file of another schema or version.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    if not files:
        raise ArtifactError(f"{path}: no {schema} table there.")
    tables = []
    for file in files:
        with _open_table(schema, file) as opened, _readable(file):
            tables.append(opened.read(columns))
    return pa.concat_tables(tables)


def _open_table(schema: str, file: Path) -> pq.ParquetFile:
    """Opens a Parquet file of the named schema; what is read of it is compared with its checksums.

    Raises:
        ArtifactError: not there, not a Parquet file, or a file of another schema or version.
    """
    if not file.is_file():
        raise ArtifactError(f"{file}: no {schema} table there.")
    with _readable(file):
        opened = pq.ParquetFile(file, page_checksum_verification=True)
    metadata = opened.schema_arrow.metadata or {}
    found = metadata.get(b"glus.schema", b"none").decode(), metadata.get(b"glus.schema_version", b"0").decode()
    if found != (schema, str(SCHEMA_VERSION)):
        raise ArtifactError(
            f"{file}: holds schema {found[0]} version {found[1]}, expected {schema} version {SCHEMA_VERSION}."
            " Run the step that writes it again."
        )
    return opened


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Names the file in what Arrow says about damage."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(
            f"{file}: not a readable Parquet file ({error}). Cut off or damaged; run the step that writes it again."
        ) from error


@dataclass(frozen=True)
class Video:
    """One video: its frames are `<frames root>/<frame_dir>/<name>.jpg` in the order of `frame_names`."""

    video_id: str
    num_frames: int
    height_px: int
    width_px: int
    frame_names: tuple[str, ...]
    frame_dir: str
    grey_frames: tuple[int, ...]


@dataclass(frozen=True)
class Expression:
    """One sentence about one video and the annotations whose union it refers to."""

    video_id: str
    expression_id: str
    text: str
    object_ids: tuple[str, ...]
    annotation_ids: tuple[str, ...]
    family: str | None


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
        return self._masks.metadata.num_rows > 0

    @cached_property
    def _masks(self) -> pq.ParquetFile:
        return _open_table("masks", self.directory / "masks.parquet")

    @cached_property
    def _video_bounds(self) -> np.ndarray:
        """First and last video of each row group, str [G, 2]: the same one as staged, others' files may mix them."""
        metadata, column = self._masks.metadata, self._masks.schema_arrow.names.index("video_id")
        statistics = (metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups))
        any_video = ("", chr(sys.maxunicode))
        bounds = [(each.min, each.max) if each and each.has_min_max else any_video for each in statistics]
        return np.array(bounds, dtype=str).reshape(-1, 2)

    def mask_rles(self, video_id: str) -> dict[str, dict[int, str]]:
        """Run lengths of one video: annotation id -> frame index -> compressed counts (absent frames left out).

        Raises:
            ArtifactError: the table is damaged.
        """
        if self._latest_tracks[0] != video_id:
            self._latest_tracks = video_id, self._read_tracks(video_id)
        return self._latest_tracks[1]

    def _read_tracks(self, video_id: str) -> dict[str, dict[int, str]]:
        first, last = self._video_bounds.T
        groups = np.flatnonzero((first <= video_id) & (video_id <= last)).tolist()
        columns = ["video_id", "annotation_id", "frame_index", "rle_counts"]
        with _readable(self.directory / "masks.parquet"):  # in one thread: a forked process has no other
            rows = self._masks.read_row_groups(groups, columns, use_threads=False)
        tracks: dict[str, dict[int, str]] = {}
        # not filtered by Arrow, whose functions take 27 MB of every process that uses one
        for owner, annotation, frame, counts in zip(*(rows[name].to_pylist() for name in columns), strict=True):
            if owner == video_id:
                tracks.setdefault(annotation, {})[frame] = counts
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
