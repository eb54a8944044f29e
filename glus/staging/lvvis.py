"""LV-VIS with the expression files that VISA's authors give out (a class name per expression, cilinyan/VISA)."""

from __future__ import annotations

from pathlib import Path

from glus.staging.lists import as_ids, check_objects, list_videos, require
from glus.staging.raw import MaskDict, Published, RawExpression, RawSplit, RawVideo

TREE = """
train/JPEGImages/<video>/<frame>.jpg ...
train/meta_expressions.json      (or beside train/)
train/mask_dict.json             (or beside train/)
"""
PUBLISHER = (
    "the LV-VIS authors (github.com/haochenheheda/LVVIS; videos), CC BY-NC-SA 4.0,"
    " and the VISA authors (github.com/cilinyan/VISA; meta_expressions.json and mask_dict.json)"
)
PUBLISHED: dict[str, Published] = {}


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split, from its folder or from the root.

    Raises:
        InputError: the dataset or the split is not there.
    """
    beside = split == "train" and not (root / split / "meta_expressions.json").is_file()
    folder = "" if beside and (root / "meta_expressions.json").is_file() else f"{split}/"
    raw = RawSplit(f"{folder}meta_expressions.json")
    require(root / raw.file, root, TREE, PUBLISHER)
    for video in list_videos(root, raw.file, raw.faults):
        raw.videos.append(RawVideo(video.video_id, video.frame_names, f"{split}/JPEGImages/{video.video_id}"))
        for expression_id, expression in video.expressions.items():
            check_objects(raw.file, video, expression_id, ("anno_id",), raw.faults)
            objects, annotations = as_ids(expression.get("obj_id")), as_ids(expression.get("anno_id"))
            text = expression["exp"].replace("_", " ")  # 415 of the class names are written with underscores
            raw.expressions.append(RawExpression(video.video_id, expression_id, text, objects, annotations))
    raw.masks = MaskDict.of(f"{folder}mask_dict.json", raw.expressions)
    return raw
