"""Your own videos: a folder of frames each, indexed PNG masks where there are any, and one table of expressions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from glus.errors import InputError
from glus.staging.faults import Fault, error
from glus.staging.lists import check_frame_names, check_text, expression_place, is_inside, not_json, require
from glus.staging.raw import MaskFolder, Published, RawExpression, RawSplit, RawVideo

TREE = """
<split>/JPEGImages/<video>/00000.jpg ...
<split>/Annotations/<video>/00000.png ...   (indexed PNG, pixel value = object; not needed for videos without masks)
<split>/expressions.csv                     (columns video, expression, objects: numbers separated by blanks)
    or expressions.json                     (a list of {"video": ..., "expression": ..., "objects": [1, 2]})
"""
PUBLISHER = "you"
PUBLISHED: dict[str, Published] = {}
COLUMNS = ("video", "expression", "objects")


def load(root: Path, split: str) -> RawSplit:
    """Reads the table of expressions; frames are the `.jpg` files of each video's folder, in the order of their names.

    Raises:
        InputError: the split is not there, or its table lacks a column.
    """
    table = next((name for name in ("expressions.csv", "expressions.json") if (root / split / name).is_file()), None)
    raw = RawSplit(f"{split}/{table or 'expressions.csv'}")
    require(root / raw.file, root, TREE, PUBLISHER)
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in _read_rows(root, raw.file, raw.faults):
        grouped.setdefault(str(row["video"]), []).append(row)
    masks = []
    for video_id, rows in sorted(grouped.items()):
        video = _video(root, split, video_id, raw)
        if video is None:
            continue
        raw.videos.append(video)
        masked = (root / split / "Annotations" / video_id).is_dir()
        if masked:
            masks.append(MaskFolder(video_id, f"{split}/Annotations/{video_id}"))
        raw.expressions.extend(_expressions(raw, video_id, rows, needs_objects=masked or split == "train"))
    raw.masks = masks or None
    return raw


def _read_rows(root: Path, file: str, faults: list[Fault]) -> list[dict[str, Any]]:
    try:
        text = (root / file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise InputError(f"{root / file} is not UTF-8 text ({problem.reason} at byte {problem.start}).") from problem
    if file.endswith(".csv"):
        rows: Any = list(csv.DictReader(text.splitlines()))
    else:
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as problem:
            faults.append(not_json(file, problem.msg, problem.lineno, problem.colno))
            return []
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= set(COLUMNS) for row in rows):
        raise InputError(f"{root / file}: every row needs the columns {', '.join(COLUMNS)}.\n{TREE.strip()}")
    return rows


def _video(root: Path, split: str, video_id: str, raw: RawSplit) -> RawVideo | None:
    folder = f"{split}/JPEGImages/{video_id}"
    place = f"video {video_id}"
    if not is_inside(video_id):
        problem = f"the video {video_id!r} leads out of the dataset's folder"
        raw.faults.append(error(raw.file, place, problem, "Name a folder below JPEGImages"))
        return None
    names = sorted(path.stem for path in (root / folder).glob("*.jpg"))
    if not names:
        problem = f"video {video_id} is listed in {raw.file} but {folder} holds no .jpg frames"
        raw.faults.append(error(folder, place, problem, "Put its frames there, as 00000.jpg, 00001.jpg ..."))
        return None
    if not check_frame_names(raw.file, video_id, names, raw.faults):
        return None
    return RawVideo(video_id, tuple(names), folder)


def _expressions(
    raw: RawSplit, video_id: str, rows: list[dict[str, Any]], *, needs_objects: bool
) -> list[RawExpression]:
    expressions = []
    for number, row in enumerate(rows):
        if not check_text(raw.file, video_id, str(number), row["expression"], raw.faults):
            continue
        value = row["objects"]
        objects = tuple(value.split()) if isinstance(value, str) else tuple(str(item) for item in value or ())
        if needs_objects and not objects:
            problem = f"{video_id} expression {number} names no objects, but masks are there or needed for training"
            raw.faults.append(error(raw.file, expression_place(video_id, str(number)), problem, "Name its objects"))
        expressions.append(RawExpression(video_id, str(number), row["expression"], objects, objects))
    return expressions
