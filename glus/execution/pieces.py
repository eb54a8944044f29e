"""Work in pieces: one file for each video with all of its sentences, keyed by its content, made once by whoever.

A video is never cut: the sentences of one share padding, which changes low bits. So the pieces are the same however
they are spread over processes, shards and machines, and what an interrupted run has finished is what lies there.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glus.errors import GlusError, name_some
from glus.files import hash_json
from glus.publishing import publish_file
from glus.records.video import Expression, Video

Make = Callable[[int, Path], None]  # number of a piece, file to write


@dataclass(frozen=True)
class StepPieces:
    """The pieces of one piece of work, made or not.

    Attributes:
        folder: where they lie, relative to the project.
        names: their files, sorted: in the order of the work.
        build: makes, once in each process, the function that makes a piece; picklable.
        devices: how many devices a process that makes them needs, where there are any.
    """

    folder: Path
    names: tuple[str, ...]
    build: Callable[[], Make]
    devices: int

    def missing(self) -> list[int]:
        """Numbers of the pieces that are still to be made."""
        found = self._found()
        return [number for number, name in enumerate(self.names) if name not in found]

    def require_all(self) -> list[Path]:
        """All pieces in order, to be put together.

        Raises:
            GlusError: one is missing, or stands there twice; names it.
        """
        found = self._found()
        foreign, missing = sorted(found - set(self.names)), sorted(set(self.names) - found)
        if foreign:
            places = Counter(map(_place, found))
            what = "a piece twice" if places[_place(foreign[0])] > 1 else "files that are no pieces of this work"
            raise GlusError(
                f"{self.folder} holds {what}: {name_some(foreign)}. Remove them and start again; the others are kept."
            )
        if missing:
            raise GlusError(
                f"{self.folder} lacks {len(missing)} of {len(self.names)} pieces: {name_some(missing)}."
                " Start again; the others are kept."
            )
        return [self.folder / name for name in self.names]

    def _found(self) -> set[str]:
        try:
            with os.scandir(self.folder) as entries:
                return {entry.name for entry in entries if not entry.name.startswith(".")}
        except FileNotFoundError:
            return set()


class PieceMaker:
    """Makes pieces by their numbers, in one process; those that are there already are left."""

    def __init__(self, pieces: StepPieces) -> None:
        self._pieces = pieces
        self._make = pieces.build()

    def __call__(self, number: int) -> int:
        """Makes a piece: written aside, synced, renamed. Returns its number."""
        target = self._pieces.folder / self._pieces.names[number]
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            # a name of its own: where a machine was taken for lost, two may be at it
            aside = target.with_name(f".{uuid.uuid4().hex}{target.suffix}")
            try:
                self._make(number, aside)
                publish_file(aside, target)
            finally:
                aside.unlink(missing_ok=True)
        return number


def piece_name(number: int, video: Video, expressions: list[Expression], decides: str, suffix: str) -> str:
    """The file of a piece: its place, and a hash of all that decides it.

    Args:
        expressions: all sentences of the video.
        decides: hash of the rest: parameters, model and other inputs, code (`glus.pipeline.fingerprint`).
    """
    key = hash_json([repr(video), [repr(expression) for expression in expressions], decides])
    return f"{number:07d}-{key[:16]}{suffix}"


def _place(name: str) -> str:
    return name.partition("-")[0]
