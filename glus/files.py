"""Plain files: JSON, and hashes that are computed once for each state of a file."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glus.errors import GlusError, InputError

TICK_NS = 100_000_000  # longer than the clock of any file system that changes are told by
MOST_HASHES = 200_000
HASHES = Path(".glus/hashes.json")


@dataclass(frozen=True)
class WriteRefusal:
    """Why a disk takes nothing more.

    Attributes:
        why: the first part of a sentence.
        remedy: the first part of another.
    """

    why: str
    remedy: str


DISK_FULL = WriteRefusal("the disk is full", "Free some space")
TOO_LARGE = WriteRefusal(
    "a file would become larger than is allowed", "Lift the limit (`ulimit -f unlimited`, or that of the file system)"
)
REFUSALS = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: WriteRefusal("the disk quota is used up", "Free some space, or have the quota raised,"),
    errno.EFBIG: TOO_LARGE,
    errno.EROFS: WriteRefusal("the file system is read-only", "Make it writable"),
}
SAID_BY_TORCH = ("unexpected pos", "file write failed")  # by torch.save, which hides the reason


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


class HashCache:
    """Hashes of files, remembered by device and inode for as long as size and times stay, so also across renames.

    It is a convenience: it is kept only where the project's scratch folder exists, and a lost entry is made anew.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[Any]] = read_note(HASHES)
        self._changed = False

    def hash(self, path: Path) -> str:
        """SHA-256 of a file's bytes."""
        found = path.stat()
        key, state = f"{found.st_dev}:{found.st_ino}", [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
        known = self._known.get(key)
        if known and known[:3] == state:
            return str(known[3])
        digest = hash_file(path)
        if time.time_ns() - found.st_ctime_ns > TICK_NS:  # within one tick of the clock a change would not be seen
            self._known.pop(key, None)
            self._known[key] = [*state, digest]
            self._changed = True
        return digest

    def save(self) -> None:
        """Remembers what was computed, the newest entries where there are very many."""
        if self._changed and HASHES.parent.is_dir():
            newest = list(self._known.items())[-MOST_HASHES:]
            replace_by_text(HASHES, json.dumps(dict(newest)))
            self._changed = False


def read_note(file: Path) -> dict[str, Any]:
    """What a note of the pipeline to itself holds; nothing where it is not there, or damaged as after a power loss."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(value: Any, path: Path) -> None:
    """Writes JSON beside the target and renames it when complete. Raises as `to_json`."""
    text = to_json(value, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_by_text(path, f"{text}\n")


def replace_by_text(path: Path, text: str) -> None:
    """Writes a text beside the target and renames it when complete."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


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


def write_refusal(error: BaseException | None) -> WriteRefusal | None:
    """What an error, or what caused it, says of a disk that takes no more; libraries say it in several ways."""
    while error is not None:
        text = str(error)
        for number, refusal in REFUSALS.items():
            if (isinstance(error, OSError) and error.errno == number) or os.strerror(number) in text:
                return refusal
        if any(words in text for words in SAID_BY_TORCH):
            limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
            return TOO_LARGE if limited else DISK_FULL
        error = error.__cause__ or error.__context__
    return None
