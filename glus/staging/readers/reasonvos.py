"""ReasonVOS, an evaluation set of one split: a list of expressions per video, a folder of PNG files per object.

Only the release of 26 December 2024 is read (showlab/VideoLISA, benchmark_check.py); the one before had another form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glus.staging.faults import Fault, error
from glus.staging.files.expression_lists import (
    MissingError,
    check_frame_names,
    check_text,
    expression_place,
    read_videos,
    require,
)
from glus.staging.files.json_files import AS_PUBLISHED
from glus.staging.files.paths import is_file_name, leads_out
from glus.staging.raw import MaskFolder, Published, RawExpression, RawSplit, RawVideo

TREE = """
meta_expressions.json      (release of 26 December 2024: expressions are lists)
JPEGImages/<video>/<frame>.jpg ...
Annotations/<source>_<video>_<obj_id>/<frame>.png ...
"""
PUBLISHER = "the VideoLISA authors (github.com/showlab/VideoLISA, BENCHMARK), non-commercial research"
SPLIT = "test"
PUBLISHED = {SPLIT: Published(91, 458)}


def splits(root: Path) -> list[str]:
    """The one split, where its list is there."""
    return [SPLIT] if (root / "meta_expressions.json").is_file() else []


def load(root: Path, split: str) -> RawSplit:
    """Reads the list; expression ids are `<obj_id>_<exp_id>`, since `exp_id` repeats within a video.

    Raises:
        MissingError: the dataset is not there, or another split than the one it has is asked for.
    """
    if split != SPLIT:
        message = f"reasonvos/{split} does not exist: ReasonVOS has one split, for evaluation: reasonvos/{SPLIT}."
        raise MissingError(message, split)
    raw = RawSplit("meta_expressions.json", "26 December 2024", masks=[])
    require(root / raw.file, root, TREE, PUBLISHER)
    present = [] if leads_out(root, "Annotations") else (root / "Annotations").glob("*")
    folders = {path.name.casefold(): path.name for path in present}
    masks: dict[str, MaskFolder] = {}
    records = read_videos(root, raw.file, raw.faults)
    if records and all(isinstance(record.get("expressions"), dict) for record in records.values()):
        raw.faults.append(_old_release(raw.file))
        return raw
    for video_id, record in records.items():
        if not check_frame_names(raw.file, video_id, record["frames"], raw.faults):
            continue
        video = RawVideo(video_id, tuple(record["frames"]), f"JPEGImages/{video_id}")
        raw.videos.append(video)
        for expression in _expressions(raw.file, video_id, record, raw.faults):
            raw.expressions.append(expression)
            object_id = expression.object_ids[0]
            name = f"{record.get('source')}_{video_id}_{object_id}"
            folder = f"Annotations/{folders.get(name.casefold(), name)}"  # the source is written in either case
            masks.setdefault(folder, MaskFolder(video_id, folder, object_id))
    raw.masks = list(masks.values())
    return raw


def _old_release(file: str) -> Fault:
    problem = f"{file} is of the release before 26 December 2024, in which 'expressions' was an object, not a list"
    return error(file, "", problem, "Download the present release: the two hold other expressions")


def _expressions(file: str, video_id: str, record: dict[str, Any], faults: list[Fault]) -> list[RawExpression]:
    expressions: dict[str, RawExpression] = {}
    listed = record.get("expressions")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        problem = f"the expressions of {video_id} are not a list of objects"
        faults.append(error(file, f"video {video_id}", problem, AS_PUBLISHED))
        return []
    for number, item in enumerate(listed):
        object_id, place = item.get("obj_id"), f"video {video_id}, entry {number}"
        expression_id = f"{object_id}_{item.get('exp_id')}"
        folder = f"{record.get('source')}_{video_id}_{object_id}"
        if not all(isinstance(value, str | int) for value in (record.get("source"), object_id, item.get("exp_id"))):
            problem = f"entry {number} of {video_id} has no obj_id or exp_id, or the video no source"
            faults.append(error(file, place, problem, AS_PUBLISHED))
        elif not is_file_name(folder) or not is_file_name(expression_id):
            problem = f"the ids of entry {number} of {video_id} lead out of the dataset's folder: {folder}"
            faults.append(error(file, place, problem, f"Nothing of it was opened. {AS_PUBLISHED}"))
        elif expression_id in expressions:
            problem = f"{video_id} has obj_id {object_id} with exp_id {item.get('exp_id')} twice"
            faults.append(error(file, expression_place(video_id, expression_id), problem, AS_PUBLISHED))
        elif check_text(file, video_id, expression_id, item.get("exp_text"), faults):
            family = "sentence" if item.get("is_sent") else "phrase"
            ids = (str(object_id),)
            expressions[expression_id] = RawExpression(video_id, expression_id, item["exp_text"], ids, ids, family)
    return list(expressions.values())
