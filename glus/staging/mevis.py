"""MeViS v1 and v2, and the generated set, which is written in the same layout.

Source: the README of henghuiding/MeViS; v2 keeps the videos and renames the expression files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glus.staging.faults import Fault, warning
from glus.staging.lists import as_ids, check_objects, list_videos, read_json, require
from glus.staging.raw import MaskDict, Published, RawExpression, RawSplit, RawVideo

TREE = """
train|valid_u/JPEGImages/<video>/00000.jpg ...
train|valid_u/meta_expressions.json      (v2: meta_expressions_v2.json)
train|valid_u/mask_dict.json
valid/JPEGImages/<video>/00000.jpg ...
valid/meta_expressions.json              (v2: meta_expressions_v2_release.json)
"""
PUBLISHER = "the MeViS project (henghuiding.github.io/MeViS; FudanCVL on Hugging Face), CC BY-NC-SA 4.0"
PUBLISHED = {
    "train": Published(1662, 23051),
    "valid_u": Published(50, 793),
    "valid": Published(140, 2236),
}
META_FILES = ("meta_expressions.json", "meta_expressions_v2.json", "meta_expressions_v2_release.json")


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of `root/<split>`.

    Raises:
        InputError: the dataset or the split is not there.
    """
    present = [name for name in META_FILES if (root / split / name).is_file()] or [META_FILES[0]]
    require(root / split / present[0], root, TREE, PUBLISHER)
    raw = RawSplit(f"{split}/{present[0]}")
    if len(present) > 1:
        problem = f"{split} also holds {', '.join(present[1:])}, of another version"
        raw.faults.append(warning(raw.file, "", problem, f"{present[0]} is read; keep one of them there"))
    listed = list_videos(root, raw.file, raw.faults)
    families = _read_families(root, split, raw.faults)
    # server splits come without ids; where any is given, and for training always, they are needed
    with_masks = split == "train" or any(
        "anno_id" in expression for video in listed for expression in video.expressions.values()
    )
    for video in listed:
        notes = families.get(video.video_id, {})
        raw.videos.append(
            RawVideo(
                video.video_id,
                video.frame_names,
                f"{split}/JPEGImages/{video.video_id}",
                tuple(notes.get("grey_frames", ())),
            )
        )
        for expression_id, expression in video.expressions.items():
            if with_masks:
                check_objects(raw.file, video, expression_id, ("obj_id", "anno_id"), raw.faults)
            raw.expressions.append(
                RawExpression(
                    video.video_id,
                    expression_id,
                    expression["exp"],
                    as_ids(expression.get("obj_id")),
                    as_ids(expression.get("anno_id")),
                    notes.get("expressions", {}).get(expression_id),
                )
            )
    if with_masks:
        raw.masks = MaskDict.of(f"{split}/mask_dict.json", raw.expressions)
    return raw


def _read_families(root: Path, split: str, faults: list[Fault]) -> dict[str, Any]:
    """What the generated set says about its clips; nothing in the published sets."""
    file = f"{split}/families.json"
    if not (root / file).is_file():
        return {}
    return (read_json(root, file, faults) or {}).get("videos", {})
