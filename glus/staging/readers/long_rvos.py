"""Long-RVOS: MeViS's lists with one object a sentence, and a folder of PNG files for each object.

Source: iSEE-Laboratory/Long_RVOS, its README, its training loader and eval/eval_long_rvos.
"""

from __future__ import annotations

from pathlib import Path

from glus.staging.faults import warning
from glus.staging.files.expression_lists import check_objects, expression_place, list_videos, read_ids, require
from glus.staging.raw import MaskFolder, Published, RawExpression, RawSplit, RawVideo

TREE = """
train|valid|test/JPEGImages/<video>/<frame>.jpg ...
train|valid|test/meta_expressions.json
train|valid/Annotations/<video>/<object>/<frame>.png ...      (none where the object is not to be seen)
"""
PUBLISHER = "iSEE-Laboratory (github.com/iSEE-Laboratory/Long_RVOS)"
PUBLISHED: dict[str, Published] = {}
TYPES = ("static", "dynamic", "hybrid")  # scored apart, and together as one mean over expressions


def splits(root: Path) -> list[str]:
    """The folders that hold an expression file."""
    return sorted(path.parent.name for path in root.glob("*/meta_expressions.json"))


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of `root/<split>`; masks are expected where there are annotations, and for training always.

    Raises:
        MissingError: the dataset or the split is not there.
    """
    raw = RawSplit(f"{split}/meta_expressions.json")
    require(root / raw.file, root, TREE, PUBLISHER)
    with_masks = split == "train" or (root / split / "Annotations").is_dir()
    masks: dict[str, MaskFolder] = {}
    for video in list_videos(root, raw.file, raw.faults):
        raw.videos.append(RawVideo(video.video_id, video.frame_names, f"{split}/JPEGImages/{video.video_id}"))
        for expression_id, expression in video.expressions.items():
            if with_masks:
                check_objects(raw.file, video, expression_id, ("obj_id",), raw.faults)
            objects = read_ids(raw.file, video, expression_id, "obj_id", raw.faults)
            kind = expression.get("type")
            if kind not in TYPES:
                record = expression_place(video.video_id, expression_id)
                problem = f"{record} has the type {kind!r}, expected {', '.join(TYPES)}"
                raw.faults.append(warning(raw.file, record, problem, "It is in no group of the scores"))
            raw.expressions.append(
                RawExpression(
                    video.video_id, expression_id, expression["exp"], objects, objects, kind if kind in TYPES else None
                )
            )
            for name in objects if with_masks else ():
                folder = f"{split}/Annotations/{video.video_id}/{name}"
                masks[folder] = MaskFolder(video.video_id, folder, name, sparse=True)
    if with_masks:
        raw.masks = list(masks.values())
    return raw
