"""What a video, an expression and a mask track are on disk: Parquet schemas, their readers and writers.

Every file carries its schema's name and version in its metadata; pandas, DuckDB and `datasets` open them as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
            # failure: the kind that costs the most; lost_*: what each kind costs of 1 - jf; jf_*: from other frames
            ("num_visible_frames", pa.int32()),
            ("num_missed_frames", pa.int32()),
            ("failure", pa.string()),
            ("lost_false_alarm", pa.float64()),
            ("lost_empty", pa.float64()),
            ("lost_missed", pa.float64()),
            ("lost_wrong_object", pa.float64()),
            ("lost_extent", pa.float64()),
            ("lost_boundary", pa.float64()),
            ("jf_first_frame", pa.float64()),
            ("jf_random_frame", pa.float64()),
            ("jf_oracle_frame", pa.float64()),
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
    layout = SCHEMAS[schema]
    if not isinstance(rows, pa.Table):
        rows = list(rows)
        for row in rows:
            if row.keys() != set(layout.names):
                raise ValueError(f"{schema}: columns {sorted(row.keys() ^ set(layout.names))} are missing or unknown")
        rows = pa.Table.from_pylist(rows, schema=layout)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(rows.select(layout.names).cast(layout), aside, compression="zstd")
    aside.replace(path)


def read_table(schema: str, path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a Parquet file, or every Parquet file of a folder in name order, of the named schema.

    Raises:
        ArtifactError: nothing there, not a Parquet file, or a file of another schema or version.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    if not files:
        raise ArtifactError(f"{path}: no {schema} table there.")
    tables = []
    for file in files:
        try:
            metadata = pq.read_schema(file).metadata or {}
            found = metadata.get(b"glus.schema", b"none").decode(), metadata.get(b"glus.schema_version", b"0").decode()
            if found != (schema, str(SCHEMA_VERSION)):
                raise ArtifactError(
                    f"{file}: holds schema {found[0]} version {found[1]}, expected {schema} version {SCHEMA_VERSION}."
                )
            tables.append(pq.read_table(file, columns=columns, partitioning=None))
        except pa.ArrowInvalid as error:
            raise ArtifactError(f"{file}: not a readable Parquet file ({error}).") from error
    return pa.concat_tables(tables)


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

    The mask table stays one Arrow table (shared by forked workers); a video's rows are one slice of it.

    Args:
        directory: `data/staged/<dataset>/<split>`.
        frames_root: the folder that `Video.frame_dir` is relative to (the raw dataset's root).
    """

    def __init__(self, directory: Path, frames_root: Path) -> None:
        self.directory = directory
        self.frames_root = frames_root
        self.dataset, self.split = directory.parent.name, directory.name

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
    def _masks(self) -> pa.Table:
        return read_table("masks", self.directory / "masks.parquet").combine_chunks()

    @cached_property
    def _mask_rows(self) -> dict[str, tuple[int, int]]:
        """First row and number of rows of each video in the mask table."""
        counts = pc.value_counts(self._masks["video_id"]).to_pylist()
        starts = np.cumsum([0] + [entry["counts"] for entry in counts])
        return {entry["values"]: (int(start), entry["counts"]) for entry, start in zip(counts, starts, strict=False)}

    def mask_rles(self, video_id: str) -> dict[str, dict[int, str]]:
        """Run lengths of one video: annotation id -> frame index -> compressed counts (absent frames left out)."""
        start, count = self._mask_rows.get(video_id, (0, 0))
        rows = self._masks.slice(start, count)
        tracks: dict[str, dict[int, str]] = {}
        columns = (rows[name].to_pylist() for name in ("annotation_id", "frame_index", "rle_counts"))
        for annotation_id, frame_index, counts in zip(*columns, strict=True):
            tracks.setdefault(annotation_id, {})[frame_index] = counts
        return tracks

    def target_masks(self, expression: Expression, frame_indices: Iterable[int]) -> np.ndarray:
        """Ground truth of an expression: the union of its annotations, bool [T, H, W] for the given frames."""
        video = self.videos[expression.video_id]
        tracks = self.mask_rles(expression.video_id)
        height, width = video.height_px, video.width_px
        return np.stack(
            [
                union(
                    (
                        decode_rle(tracks[annotation][index], height, width)
                        for annotation in expression.annotation_ids
                        if index in tracks.get(annotation, {})
                    ),
                    height,
                    width,
                )
                for index in frame_indices
            ]
        )

    def frame_path(self, video: Video, index: int) -> Path:
        """Path of one frame."""
        return self.frames_root / video.frame_dir / f"{video.frame_names[index]}.jpg"
