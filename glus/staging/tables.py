"""An examined split as the three Parquet tables of `glus.records.schemas`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from glus.records.tables import write_row_groups, write_table
from glus.staging.checks import ExaminedSplit
from glus.staging.spool import MaskSpool


def write_tables(
    dataset: str, split: str, examined: ExaminedSplit, masks: MaskSpool, directory: Path
) -> dict[str, int]:
    """Writes videos, expressions and masks; returns their numbers of rows.

    Masks are sorted by video (as listed), annotation and frame, and those of a video are a row group, so that a sample
    reads no others.
    """
    key = {"dataset": dataset, "split": split}
    raw = examined.raw
    videos = [
        {
            **key,
            "video_id": video.video_id,
            "num_frames": len(video.frame_names),
            "height_px": examined.sizes[video.video_id][0],
            "width_px": examined.sizes[video.video_id][1],
            "frame_names": list(video.frame_names),
            "frame_dir": video.frame_dir,
            "grey_frames": list(video.ambiguous_frames),
        }
        for video in raw.videos
    ]
    expressions = [
        {
            **key,
            "video_id": expression.video_id,
            "expression_id": expression.expression_id,
            "expression": expression.text,
            "object_ids": list(expression.object_ids),
            "annotation_ids": list(expression.annotation_ids),
            "family": expression.family,
        }
        for expression in raw.expressions
    ]
    tables = masks.tables(video.video_id for video in raw.videos)
    write_table("videos", videos, directory / "videos.parquet")
    write_table("expressions", expressions, directory / "expressions.parquet")
    num_masks = write_row_groups("masks", _with_key(tables, key), directory / "masks.parquet")
    return {"videos": len(videos), "expressions": len(expressions), "masks": num_masks}


def _with_key(tables: Iterable[pa.Table], key: dict[str, str]) -> Iterator[pa.Table]:
    for table in tables:
        for name, value in key.items():
            table = table.append_column(name, pa.repeat(value, table.num_rows))
        yield table
