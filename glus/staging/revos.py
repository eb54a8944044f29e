"""ReVOS (cilinyan/ReVOS-api): one `mask_dict.json` for both splits, video ids with slashes, kinds of expressions."""

from __future__ import annotations

from pathlib import Path

from glus.staging.lists import as_ids, check_objects, list_videos, require
from glus.staging.raw import MaskDict, Published, RawExpression, RawSplit, RawVideo

TREE = """
JPEGImages/<source>/.../<video>/<frame>.jpg ...
meta_expressions_train_.json
meta_expressions_valid_.json
mask_dict.json
"""
PUBLISHER = "the ReVOS authors (github.com/cilinyan/ReVOS-api), CC BY-NC-SA 4.0; the videos remain with their sources"
PUBLISHED: dict[str, Published] = {}
FAMILIES = {"0": "referring", "1": "reasoning", "2": "absent"}  # type_id


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split; the kind of an expression becomes its family.

    Raises:
        InputError: the dataset or the split is not there.
    """
    raw = RawSplit(f"meta_expressions_{split}_.json")
    require(root / raw.file, root, TREE, PUBLISHER)
    images = "JPEGImages/" if (root / "JPEGImages").is_dir() else ""  # one repacked release has no such level
    for video in list_videos(root, raw.file, raw.faults):
        raw.videos.append(RawVideo(video.video_id, video.frame_names, f"{images}{video.video_id}"))
        for expression_id, expression in video.expressions.items():
            family = FAMILIES.get(str(expression.get("type_id")))
            if family != "absent":
                check_objects(raw.file, video, expression_id, ("obj_id", "anno_id"), raw.faults)
            objects, annotations = as_ids(expression.get("obj_id")), as_ids(expression.get("anno_id"))
            raw.expressions.append(
                RawExpression(video.video_id, expression_id, expression["exp"], objects, annotations, family)
            )
    raw.masks = MaskDict.of("mask_dict.json", raw.expressions)
    return raw
