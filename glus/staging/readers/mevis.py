"""MeViS v1 and v2. Source: the README of henghuiding/MeViS; v2 keeps the videos and renames the expression files."""

from __future__ import annotations

from pathlib import Path

from glus.staging.faults import warning
from glus.staging.files.expression_lists import check_objects, list_videos, read_ids, require
from glus.staging.raw import MaskDict, Published, RawExpression, RawSplit, RawVideo

TREE = """
train|valid_u/JPEGImages/<video>/00000.jpg ...
train|valid_u/meta_expressions.json      (v2: meta_expressions_v2.json)
train|valid_u/mask_dict.json
valid/JPEGImages/<video>/00000.jpg ...
valid/meta_expressions.json              (v2: meta_expressions_v2_release.json)
"""
PUBLISHER = "the MeViS project (henghuiding.github.io/MeViS, github.com/henghuiding/MeViS), CC BY-NC-SA 4.0"
PUBLISHED = {
    "train": Published(1662, 23051),
    "valid_u": Published(50, 793),
    "valid": Published(140, 2236),
    "train v2": Published(1662, 27502),
    "valid_u v2": Published(50, 907),
    "valid v2": Published(140, 2523),
}
RELEASES = {
    "meta_expressions.json": "v1",
    "meta_expressions_v2.json": "v2",
    "meta_expressions_v2_release.json": "v2",
}


def splits(root: Path) -> list[str]:
    """The folders that hold an expression file."""
    return sorted({path.parent.name for name in RELEASES for path in root.glob(f"*/{name}")})


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of `root/<split>`; where several releases lie there, the first of `RELEASES`.

    Raises:
        MissingError: the dataset or the split is not there.
    """
    present = [name for name in RELEASES if (root / split / name).is_file()] or [next(iter(RELEASES))]
    require(root / split / present[0], root, TREE, PUBLISHER)
    raw = RawSplit(f"{split}/{present[0]}", RELEASES[present[0]])
    if len(present) > 1:
        problem = f"{split} also holds {', '.join(present[1:])}, of another release"
        raw.faults.append(warning(raw.file, "", problem, f"{present[0]} is read; keep one of them there"))
    listed = list_videos(root, raw.file, raw.faults)
    # server splits come without ids; where any is given, and for training always, they are needed
    with_masks = split == "train" or any(
        "anno_id" in expression for video in listed for expression in video.expressions.values()
    )
    for video in listed:
        raw.videos.append(RawVideo(video.video_id, video.frame_names, f"{split}/JPEGImages/{video.video_id}"))
        for expression_id, expression in video.expressions.items():
            if with_masks:
                check_objects(raw.file, video, expression_id, ("obj_id", "anno_id"), raw.faults)
            objects = read_ids(raw.file, video, expression_id, "obj_id", raw.faults)
            annotations = read_ids(raw.file, video, expression_id, "anno_id", raw.faults)
            raw.expressions.append(
                RawExpression(video.video_id, expression_id, expression["exp"], objects, annotations)
            )
    if with_masks:
        raw.masks = MaskDict.of(f"{split}/mask_dict.json", raw.expressions)
    _note_release(split, raw)
    return raw


def _note_release(split: str, raw: RawSplit) -> None:
    """A file of one release under the other's name is told by its number of expressions."""
    other = PUBLISHED.get(f"{split} v2" if raw.release == "v1" else split)
    if other and len(raw.expressions) == other.expressions:
        problem = (
            f"{raw.file} has the name of {raw.release}, but the {other.expressions} expressions of another release"
        )
        raw.faults.append(warning(raw.file, "", problem, "Give it the name under which it is published"))
