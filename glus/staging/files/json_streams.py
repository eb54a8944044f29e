"""Large JSON files read as a stream, one entry in memory at a time, and where one stops being JSON."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from glus.staging.faults import Fault
from glus.staging.files.json_files import Streamed, not_json

BLOCK = 1 << 16  # bytes that the JSON parser is given at once


def damaged(root: Path, file: str, problem: ijson.JSONError) -> Fault:
    """The fault of a file that a stream of JSON broke off in."""
    return not_json(file, str(problem).splitlines()[0], *_position(root / file))


def stream_list(path: Path, name: str) -> Iterator[Any]:
    """The entries of a list at the top of a JSON file.

    Raises:
        ijson.JSONError: the file is not JSON.
    """
    with _open(path) as file:
        yield from ijson.items(file, f"{name}.item", map_type=Streamed, use_float=True, buf_size=BLOCK)


def stream_object(path: Path) -> Iterator[tuple[str, Any]]:
    """The names and values of the object that a JSON file holds. Raises as `stream_list`."""
    with _open(path) as file:
        yield from ijson.kvitems(file, "", map_type=Streamed, use_float=True, buf_size=BLOCK)


def _open(path: Path) -> BinaryIO:
    """Opens a JSON file behind its byte order mark, where it has one."""
    file = path.open("rb")
    if file.read(len(BOM_UTF8)) != BOM_UTF8:
        file.seek(0)
    return file


@dataclass
class _Counted:
    """A file that knows how far it was read; byte by byte from `careful_from` on."""

    file: BinaryIO
    careful_from: float = float("inf")
    position: int = 0
    line: int = 1
    column: int = 0

    def read(self, size: int) -> bytes:
        block = self.file.read(min(size, 1) if self.position + BLOCK > self.careful_from else size)
        self.position += len(block)
        lines = block.count(b"\n")
        self.line += lines
        self.column = len(block) - block.rfind(b"\n") - 1 if lines else self.column + len(block)
        return block


def _position(path: Path) -> tuple[int, int]:
    """Line and column at which a file stops being JSON: parsed once to the bad block, once more byte by byte there."""
    careful_from = float("inf")
    for _ in range(2):
        with _open(path) as file:
            counted = _Counted(file, careful_from)
            try:
                deque(ijson.basic_parse(counted, buf_size=BLOCK), maxlen=0)
            except ijson.JSONError:
                careful_from = counted.position - BLOCK
    return counted.line, max(counted.column, 1)
