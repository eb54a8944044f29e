"""An examined split as the three Parquet tables of `glus.records`."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from glus.records import SCHEMAS, write_table
from glus.staging.checks import ExaminedSplit
from glus.staging.mask_files import Row


def write_tables(
    dataset: str, split: str, examined: ExaminedSplit, mask_rows: list[Row], directory: Path
) -> dict[str, int]:
    """Writes videos, expressions and masks (sorted by video, annotation, frame); returns their numbers of rows."""
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
            "grey_frames": list(video.grey_frames),
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
    masks = _mask_table(key, mask_rows, [video.video_id for video in raw.videos])
    write_table("videos", videos, directory / "videos.parquet")
    write_table("expressions", expressions, directory / "expressions.parquet")
    write_table("masks", masks, directory / "masks.parquet")
    return {"videos": len(videos), "expressions": len(expressions), "masks": masks.num_rows}


def _mask_table(key: dict[str, str], mask_rows: list[Row], video_ids: list[str]) -> pa.Table:
    layout = SCHEMAS["masks"]
    position = {video_id: index for index, video_id in enumerate(video_ids)}
    rows = sorted(mask_rows, key=lambda row: (position[row["video_id"]], row["annotation_id"], row["frame_index"]))
    columns = {
        name: pa.array([row[name] for row in rows], layout.field(name).type) for name in layout.names if name not in key
    }
    constants = {name: pa.array([value] * len(rows), pa.string()) for name, value in key.items()}
    return pa.table({**constants, **columns}, schema=layout)
