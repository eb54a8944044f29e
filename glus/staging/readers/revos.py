"""ReVOS (cilinyan/ReVOS-api): one `mask_dict.json` for both splits, video ids with slashes, kinds of expressions.

The foreground that its measure R needs is the union of all annotations that a video's expressions use, so it follows
from the staged masks; `mask_dict_foreground.json`, which holds the same, is not read. Many masks of TAO and UVO videos
are known to be misaligned (VISA's issues 9 and 18): `stage.exclude` leaves videos out.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from glus.staging.faults import error, shown, warning
from glus.staging.files.expression_lists import check_objects, expression_place, list_videos, read_ids, require
from glus.staging.raw import MaskDict, Published, RawExpression, RawSplit, RawVideo

TREE = """
JPEGImages/<source>/.../<video>/<frame>.jpg ...
meta_expressions_train_.json      (the underscore belongs to the name)
meta_expressions_valid_.json
mask_dict.json
"""
PUBLISHER = "the ReVOS authors (github.com/cilinyan/ReVOS-api), CC BY-NC-SA 4.0; the videos remain with their sources"
PUBLISHED: dict[str, Published] = {}
SPLITS = ("train", "valid")
FAMILIES = {"0": "referring", "1": "reasoning", "2": "absent"}  # type_id
RELEASES = {  # by the beginning of the list's SHA-256
    "3917dfba": "July 2024",
    "127b975e": "July 2024",
    "3fbc3d82": "before 10 July 2024",
    "291d1854": "before 10 July 2024",
}


def splits(root: Path) -> list[str]:
    """The splits whose lists are there."""
    return [split for split in SPLITS if (root / _list_file(split)).is_file()]


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split; the kind of an expression becomes its family.

    Raises:
        MissingError: the dataset or the split is not there.
    """
    raw = RawSplit(_list_file(split))
    require(root / raw.file, root, TREE, PUBLISHER)
    images = "JPEGImages/" if (root / "JPEGImages").is_dir() else ""  # one repacked release has no such level
    for video in list_videos(root, raw.file, raw.faults):
        raw.videos.append(RawVideo(video.video_id, video.frame_names, f"{images}{video.video_id}"))
        for expression_id, expression in video.expressions.items():
            family = FAMILIES.get(str(expression.get("type_id")))
            if family is None:
                problem = f"{video.video_id} expression {expression_id} has type_id {shown(expression.get('type_id'))}"
                place, known = expression_place(video.video_id, expression_id), ", ".join(FAMILIES)
                told, action = f"{problem}, known are {known}", "Its kind decides which average it enters: write it"
                raw.faults.append((error if split == "valid" else warning)(raw.file, place, told, action))
            if family != "absent":
                check_objects(raw.file, video, expression_id, ("obj_id", "anno_id"), raw.faults)
            elif expression.get("anno_id"):
                problem = f"{video.video_id} expression {expression_id} is about an absent object, but has annotations"
                place = expression_place(video.video_id, expression_id)
                raw.faults.append(warning(raw.file, place, problem, "It enters no average; its masks are kept"))
            objects = read_ids(raw.file, video, expression_id, "obj_id", raw.faults)
            annotations = read_ids(raw.file, video, expression_id, "anno_id", raw.faults)
            raw.expressions.append(
                RawExpression(video.video_id, expression_id, expression["exp"], objects, annotations, family)
            )
    raw.masks = MaskDict.of("mask_dict.json", raw.expressions)
    if raw.videos:
        _note_release(root, raw)
    return raw


def _list_file(split: str) -> str:
    return f"meta_expressions_{split}_.json"


def _note_release(root: Path, raw: RawSplit) -> None:
    digest = hashlib.sha256((root / raw.file).read_bytes()).hexdigest()
    raw.release = RELEASES.get(digest[:8], "unknown")
    if raw.release == "before 10 July 2024":
        problem = f"{raw.file} is the list of before 10 July 2024, which its authors replaced within days"
        raw.faults.append(warning(raw.file, "", problem, "Download the lists again; scores of the two differ"))
