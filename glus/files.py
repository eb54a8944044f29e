"""Plain files: JSON, hashes, and putting a finished file or folder in place of the old one."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glus.errors import GlusError, InputError


def hash_json(value: Any) -> str:
    """SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(value: Any, *, sort_keys: bool = False) -> str:
    """Plain data as JSON, which has no NaN and no infinity.

    Raises:
        GlusError: a number is not finite; names its place.
    """
    try:
        return json.dumps(value, indent=1, sort_keys=sort_keys, allow_nan=False)
    except ValueError as error:
        place, number = next(_not_finite(value, ""), ("", None))
        if number is None:
            raise
        raise GlusError(f"{place} is {number}, a finite number is expected; nothing was written.") from error


def _not_finite(value: Any, place: str) -> Iterator[tuple[str, float]]:
    """The numbers of plain data that JSON cannot hold, with their places."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place, value
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, part in named:
        yield from _not_finite(part, f"{place}.{name}" if place else str(name))


def write_json(value: Any, path: Path) -> None:
    """Writes JSON beside the target and renames it when complete. Raises as `to_json`."""
    text = to_json(value, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(f"{text}\n", encoding="utf-8")
    aside.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        InputError: no such file, not JSON, a key that stands twice, or something else than an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, expected an object with named values.")
    return content


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Hook of `json.loads` for objects: a key that stands twice gives two answers, and the last would win silently.

    Raises:
        ValueError: names the key.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return content


def publish(source: Path, target: Path) -> None:
    """Puts a finished file or folder in place of the old one by renaming; never leaves half of either.

    Both must lie on one file system.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.old")
    _remove(old)
    if target.exists():
        target.rename(old)
    source.rename(target)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
