"""JSON files of a dataset as objects, or the fault that says where they are not what JSON and their owners allow."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from glus.staging.faults import Fault, error, shown
from glus.staging.files.paths import leads_out, led_out

DOWNLOAD_AGAIN = "Download or unpack the file again"
AS_PUBLISHED = "Use the file as its owners publish it"


class _Repeating(dict[str, Any]):
    """An object of a JSON file in which keys stand more than once; of these the last value is kept."""

    keys_repeated: list[str]


class Streamed(dict[str, Any]):
    """An object of a JSON file that is read as a stream, which nothing must interrupt; notes a key that stands twice.

    Attributes:
        repeated: the latest such key, or empty.
    """

    repeated = ""

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self:
            self.repeated = key
        super().__setitem__(key, value)


def key_repeated(value: Any) -> str:
    """The key that stands twice in an object read as a stream; empty where none does, and for anything else."""
    return value.repeated if isinstance(value, Streamed) else ""


def read_json(root: Path, file: str, faults: list[Fault]) -> dict[str, Any] | None:
    """Reads a JSON object; a fault and None where it is cut, malformed or something else.

    A key that stands twice in one object is a fault too: whatever the first one said would be lost without a word.
    """
    known = len(faults)
    content = parse_json(file, read_text(root, file, faults), faults)
    if isinstance(content, dict):
        return content
    if len(faults) == known:
        faults.append(error(file, "", f"{file} holds {shown(content)}, expected an object", AS_PUBLISHED))
    return None


def read_text(root: Path, file: str, faults: list[Fault]) -> str | None:
    """The text of a UTF-8 file, with or without byte order mark; a fault and None where it is not one."""
    if leads_out(root, file):
        faults.append(led_out(file, ""))
        return None
    try:
        return (root / file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        text = f"{file} is not UTF-8 text ({problem.reason} at byte {problem.start})"
        faults.append(error(file, "", text, "Save it as UTF-8, or download or unpack it again"))
    except OSError as problem:
        faults.append(error(file, "", f"{file} cannot be read ({problem.strerror})", "Allow reading it"))
    return None


def parse_json(file: str, text: str | None, faults: list[Fault]) -> Any:
    """What a JSON text holds; a fault and None where it is not JSON (or there is no text)."""
    if text is None:
        return None
    repeating: list[_Repeating] = []

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) == len(pairs):
            return content
        marked = _Repeating(content)
        marked.keys_repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        repeating.append(marked)
        return marked

    try:
        content = json.loads(text, object_pairs_hook=build, parse_constant=_refuse_constant)
    except json.JSONDecodeError as problem:
        faults.append(not_json(file, problem.msg, problem.lineno, problem.colno))
        return None
    except RecursionError:
        faults.append(error(file, "", f"{file} nests its values hundreds of levels deep", AS_PUBLISHED))
        return None
    except ValueError as problem:  # NaN, infinities, numbers of thousands of digits
        faults.append(error(file, "", f"{file} holds a number that JSON does not allow: {problem}", AS_PUBLISHED))
        return None
    if repeating:
        faults.extend(_repeated(file, content))
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _repeated(file: str, content: Any) -> list[Fault]:
    faults = []
    left: list[tuple[str, Any]] = [("", content)]
    while left:
        place, value = left.pop()
        for key in getattr(value, "keys_repeated", ()):
            inside = f"below {place}" if place else "at the top"
            problem = f"{file} has the key {key!r} more than once {inside}, so all but the last would be lost"
            faults.append(error(file, place, problem, "Give each entry an id of its own"))
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        left.extend((f"{place} > {key}" if place else str(key), child) for key, child in children)
    return sorted(faults, key=lambda fault: fault.problem)


def not_json(file: str, message: str, line: int, column: int) -> Fault:
    """The fault of a JSON file that cannot be parsed."""
    problem = f"{file} is not valid JSON: {message} at line {line}, column {column}"
    return error(file, "", problem, f"It ends early or is damaged, probably an incomplete download. {DOWNLOAD_AGAIN}")


def entries(value: Any) -> dict[str, Any]:
    """An object of a JSON file, or an empty one where something else stands in its place."""
    return value if isinstance(value, dict) else {}
