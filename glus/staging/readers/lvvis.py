"""LV-VIS, a class name per expression: with the files that VISA's authors give out, or from the published instances.

VISA's generator is unpublished. Where its files are absent, every category of a video is one expression about all its
annotations; this is our choice.
"""

from __future__ import annotations

from pathlib import Path

from glus.staging.faults import error
from glus.staging.files.expression_lists import check_objects, list_videos, read_ids, require
from glus.staging.raw import MaskDict, Published, RawExpression, RawSplit, RawVideo
from glus.staging.readers.instances import load_instances

TREE = """
train/JPEGImages/<video>/<frame>.jpg ...      (or train/<video>/<frame>.jpg, as published; val likewise)
train/meta_expressions.json      (or beside train/)
train/mask_dict.json             (or beside train/)
    or, instead of the two:
train_instances.json, val_instances.json      (YouTube-VIS form, as published)
"""
PUBLISHER = (
    "the LV-VIS authors (github.com/haochenheheda/LVVIS; videos and instances), CC BY-NC-SA 4.0,"
    " and the VISA authors (github.com/cilinyan/VISA; meta_expressions.json and mask_dict.json)"
)
PUBLISHED: dict[str, Published] = {}
SPLITS = ("train", "val")
LIST = "meta_expressions.json"


def splits(root: Path) -> list[str]:
    """The splits whose lists or instances are there."""
    return [
        split
        for split in SPLITS
        if any((root / file).is_file() for file in (f"{_folder(root, split)}{LIST}", _instances(split)))
    ]


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split, from its folder or from the root, or else its instances.

    Raises:
        MissingError: the dataset or the split is not there.
    """
    folder = _folder(root, split)
    if not (root / folder / LIST).is_file() and (root / _instances(split)).is_file():
        return load_instances(root, _instances(split), split)
    raw = RawSplit(f"{folder}{LIST}", "expressions of VISA")
    require(root / raw.file, root, TREE, PUBLISHER)
    if split == "train" and folder and (root / LIST).is_file():
        problem = f"there are two lists, {raw.file} and {LIST}"
        raw.faults.append(error(raw.file, "", problem, "Keep the one that belongs to the frames and masks"))
    for video in list_videos(root, raw.file, raw.faults):
        raw.videos.append(RawVideo(video.video_id, video.frame_names, f"{split}/JPEGImages/{video.video_id}"))
        for expression_id, expression in video.expressions.items():
            check_objects(raw.file, video, expression_id, ("anno_id",), raw.faults)
            objects = read_ids(raw.file, video, expression_id, "obj_id", raw.faults)
            annotations = read_ids(raw.file, video, expression_id, "anno_id", raw.faults)
            text = expression["exp"].replace("_", " ")  # 415 of the class names are written with underscores
            raw.expressions.append(RawExpression(video.video_id, expression_id, text, objects, annotations))
    raw.masks = MaskDict.of(f"{folder}mask_dict.json", raw.expressions)
    return raw


def _folder(root: Path, split: str) -> str:
    beside = split == "train" and not (root / split / LIST).is_file() and (root / LIST).is_file()
    return "" if beside else f"{split}/"


def _instances(split: str) -> str:
    return f"{split}_instances.json"
