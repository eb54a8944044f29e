"""Key frames from a file: JSON as published with GLUS, or a Parquet table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from glus.errors import InputError
from glus.files import unique_keys
from glus.records.split import StagedSplit
from glus.records.video import Key

COLUMNS = ("video_id", "expression_id", "frame_name")


def read_key_frames(path: Path, split: StagedSplit) -> dict[Key, int]:
    """The key frame of every expression of a split.

    Args:
        path: JSON `{"<video id>_<expression id>": "<frame name>"}` as published, or Parquet with the columns
            `video_id`, `expression_id` and `frame_name` (further ones are ignored).
        split: says which frames there are.

    Returns:
        Position of the frame within its video, by video and expression.

    Raises:
        InputError: unreadable, an expression without a key frame or with two, or a frame that its video does not have.
    """
    names = _read_json(path, split) if path.suffix == ".json" else _read_parquet(path)
    found: dict[Key, int] = {}
    for key in _keys(split):
        if key not in names:
            raise InputError(
                f"{path} names no key frame for video {key[0]}, expression {key[1]} of {split.dataset}/{split.split}."
            )
        frames = split.videos[key[0]].frame_names
        position = _position(names[key], frames)
        if position is None:
            raise InputError(
                f"{path}: the key frame of video {key[0]}, expression {key[1]} is {names[key]}, which is not among its"
                f" {len(frames)} frames ({frames[0]} to {frames[-1]})."
            )
        found[key] = position
    return found


def _keys(split: StagedSplit) -> Iterable[Key]:
    return ((video_id, item.expression_id) for video_id, items in split.expressions.items() for item in items)


def _position(name: str, frames: tuple[str, ...]) -> int | None:
    """Where a frame stands; a name that lost its leading zeros, as numbers do, is found too."""
    if name in frames:
        return frames.index(name)
    numbers = [int(frame) for frame in frames if frame.isdecimal()]
    if name.isdecimal() and len(numbers) == len(frames) and int(name) in numbers:
        return numbers.index(int(name))
    return None


def _read_json(path: Path, split: StagedSplit) -> dict[Key, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: an object from '<video id>_<expression id>' to a frame name is expected.")
    joined: dict[str, Key] = {}
    for key in _keys(split):
        if (other := joined.setdefault("_".join(key), key)) != key:
            raise InputError(f"{path}: {'_'.join(key)} may be {other} or {key}; use a Parquet table with both ids.")
    return {joined[name]: _frame_name(path, name, frame) for name, frame in content.items() if name in joined}


def _frame_name(path: Path, name: str, frame: Any) -> str:
    if not isinstance(frame, str | int) or isinstance(frame, bool):
        raise InputError(f"{path}: {name} is {frame!r}, the name of a frame is expected.")
    return Path(str(frame)).stem


def _read_parquet(path: Path) -> dict[Key, str]:
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet with {', '.join(COLUMNS)}: {error}.") from error
    names: dict[Key, str] = {}
    for row, (video_id, expression_id, frame) in enumerate(
        zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)
    ):
        key = str(video_id), str(expression_id)
        if key in names:
            raise InputError(f"{path}, row {row}: video {key[0]}, expression {key[1]} has a key frame already.")
        names[key] = _frame_name(path, f"row {row}", frame)
    return names
