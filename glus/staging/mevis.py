"""MeViS v1 and v2, and the generated set, which is written in the same layout.

Source: the README of henghuiding/MeViS; v2 keeps the videos and renames the expression files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glus.staging.faults import Fault, error, warning
from glus.staging.layout import (
    MaskDict,
    Published,
    RawExpression,
    RawSplit,
    RawVideo,
    as_ids,
    check_frame_names,
    check_text,
    read_json,
    read_videos,
    require,
)

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
    found = [name for name in META_FILES if (root / split / name).is_file()] or [META_FILES[0]]
    require(root / split / found[0], root, TREE, PUBLISHER)
    meta = f"{split}/{found[0]}"
    raw = RawSplit(meta)
    if len(found) > 1:
        problem = f"{split} also holds {', '.join(found[1:])}"
        raw.faults.append(warning(meta, "", problem, f"{found[0]} is read; move the other away, or it away"))
    records = read_videos(root, meta, raw.faults)
    families = _read_families(root, split, raw.faults)
    has_masks = split == "train" or any(
        expression.get("anno_id") for record in records.values() for expression in _expressions(record).values()
    )
    for video_id, record in records.items():
        if not check_frame_names(meta, video_id, record["frames"], raw.faults):
            continue
        notes = families.get(video_id, {})
        grey_frames = tuple(notes.get("grey_frames", ()))
        raw.videos.append(RawVideo(video_id, tuple(record["frames"]), f"{split}/JPEGImages/{video_id}", grey_frames))
        for expression_id, expression in _expressions(record).items():
            if not check_text(meta, video_id, expression_id, expression.get("exp"), raw.faults):
                continue
            if has_masks:
                _check_objects(meta, video_id, expression_id, expression, raw.faults)
            raw.expressions.append(
                RawExpression(
                    video_id,
                    expression_id,
                    expression["exp"],
                    as_ids(expression.get("obj_id")),
                    as_ids(expression.get("anno_id")),
                    notes.get("expressions", {}).get(expression_id),
                )
            )
    if has_masks:
        raw.masks = MaskDict(f"{split}/mask_dict.json", annotation_owners(raw.expressions))
    return raw


def annotation_owners(expressions: list[RawExpression]) -> dict[str, tuple[str, ...]]:
    """The videos whose expressions use each annotation."""
    owners: dict[str, dict[str, None]] = {}
    for expression in expressions:
        for annotation_id in expression.annotation_ids:
            owners.setdefault(annotation_id, {})[expression.video_id] = None
    return {annotation_id: tuple(videos) for annotation_id, videos in owners.items()}


def _expressions(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    expressions = record.get("expressions")
    return expressions if isinstance(expressions, dict) else {}


def _check_objects(
    meta: str, video_id: str, expression_id: str, expression: dict[str, Any], faults: list[Fault]
) -> None:
    """An empty list is an answer (no target, v2); a missing key is a fault where masks are needed."""
    absent = [key for key in ("obj_id", "anno_id") if key not in expression]
    if absent:
        problem = f"{video_id} expression {expression_id} has no {'/'.join(absent)} (needed for training)"
        faults.append(
            error(
                meta, f"video {video_id}, expression {expression_id}", problem, "Add the ids or remove the expression"
            )
        )


def _read_families(root: Path, split: str, faults: list[Fault]) -> dict[str, Any]:
    """What the generated set says about its clips; nothing in the published sets."""
    file = f"{split}/families.json"
    if not (root / file).is_file():
        return {}
    return (read_json(root, file, faults) or {}).get("videos", {})
