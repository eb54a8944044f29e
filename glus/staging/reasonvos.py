"""ReasonVOS, an evaluation set of one split: a list of expressions per video, a folder of PNG files per object.

Only the release of 26 December 2024 is read (showlab/VideoLISA, benchmark_check.py); the one before had another form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glus.errors import InputError
from glus.staging.faults import Fault, error
from glus.staging.lists import (
    AS_PUBLISHED,
    check_frame_names,
    check_text,
    expression_place,
    is_inside,
    read_videos,
    require,
)
from glus.staging.raw import MaskFolder, Published, RawExpression, RawSplit, RawVideo

TREE = """
meta_expressions.json      (release of 26 December 2024: expressions are lists)
JPEGImages/<video>/<frame>.jpg ...
Annotations/<source>_<video>_<obj_id>/<frame>.png ...
"""
PUBLISHER = "the VideoLISA authors (github.com/showlab/VideoLISA, BENCHMARK), non-commercial research"
SPLIT = "test"
PUBLISHED = {SPLIT: Published(91, 458)}


def load(root: Path, split: str) -> RawSplit:
    """Reads the list; expression ids are `<obj_id>_<exp_id>`, since `exp_id` repeats within a video.

    Raises:
        InputError: the dataset is not there, or another split than the one it has is asked for.
    """
    if split != SPLIT:
        raise InputError(
            f"reasonvos/{split} does not exist: ReasonVOS has one split, for evaluation: reasonvos/{SPLIT}."
        )
    raw = RawSplit("meta_expressions.json", masks=[])
    require(root / raw.file, root, TREE, PUBLISHER)
    folders = {path.name.casefold(): path.name for path in (root / "Annotations").glob("*")}
    masks: dict[str, MaskFolder] = {}
    for video_id, record in read_videos(root, raw.file, raw.faults).items():
        if not check_frame_names(raw.file, video_id, record["frames"], raw.faults):
            continue
        raw.videos.append(RawVideo(video_id, tuple(record["frames"]), f"JPEGImages/{video_id}"))
        for expression in _expressions(raw.file, video_id, record, raw.faults):
            raw.expressions.append(expression)
            object_id = expression.object_ids[0]
            name = f"{record.get('source')}_{video_id}_{object_id}"
            folder = f"Annotations/{folders.get(name.casefold(), name)}"  # the source is written in either case
            masks.setdefault(folder, MaskFolder(video_id, folder, object_id))
    raw.masks = list(masks.values())
    return raw


def _expressions(file: str, video_id: str, record: dict[str, Any], faults: list[Fault]) -> list[RawExpression]:
    expressions: dict[str, RawExpression] = {}
    listed = record.get("expressions")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        problem = f"the expressions of {video_id} are not a list (the release before 26 December 2024 had an object)"
        faults.append(error(file, f"video {video_id}", problem, "Download the present release"))
        return []
    for item in listed:
        object_id, number = str(item.get("obj_id", "")), str(item.get("exp_id", ""))
        expression_id = f"{object_id}_{number}"
        if not check_text(file, video_id, expression_id, item.get("exp_text"), faults):
            continue
        if not is_inside(f"{record.get('source')}_{expression_id}") or expression_id in expressions:
            problem = f"{video_id} has obj_id {object_id!r}, exp_id {number!r} twice, or they lead out of the folder"
            faults.append(error(file, expression_place(video_id, expression_id), problem, AS_PUBLISHED))
            continue
        expressions[expression_id] = RawExpression(
            video_id,
            expression_id,
            item["exp_text"],
            (object_id,),
            (object_id,),
            "sentence" if item.get("is_sent") else "phrase",
        )
    return list(expressions.values())
