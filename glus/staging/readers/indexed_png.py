"""Refer-YouTube-VOS's layout, which the converted Ref-DAVIS17 shares: lists apart, masks as PNG with object numbers."""

from __future__ import annotations

from pathlib import Path

from glus.staging.files.expression_lists import check_objects, list_videos, read_ids
from glus.staging.raw import MaskFolder, RawExpression, RawSplit, RawVideo

SPLITS = ("train", "valid")


def meta_file(split: str) -> str:
    """The list of a split, relative to the root."""
    return f"meta_expressions/{split}/meta_expressions.json"


def listed_splits(root: Path) -> list[str]:
    """The splits whose lists are there."""
    return [split for split in SPLITS if (root / meta_file(split)).is_file()]


def load_indexed(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split; masks are expected where expressions name objects, and for training always."""
    raw = RawSplit(meta_file(split))
    listed = list_videos(root, raw.file, raw.faults)
    with_masks = split == "train" or any(
        "obj_id" in expression for video in listed for expression in video.expressions.values()
    )
    for video in listed:
        raw.videos.append(RawVideo(video.video_id, video.frame_names, f"{split}/JPEGImages/{video.video_id}"))
        for expression_id, expression in video.expressions.items():
            if with_masks:
                check_objects(raw.file, video, expression_id, ("obj_id",), raw.faults)
            objects = read_ids(raw.file, video, expression_id, "obj_id", raw.faults)
            raw.expressions.append(RawExpression(video.video_id, expression_id, expression["exp"], objects, objects))
    if with_masks:
        raw.masks = [MaskFolder(video.video_id, f"{split}/Annotations/{video.video_id}") for video in raw.videos]
    return raw
