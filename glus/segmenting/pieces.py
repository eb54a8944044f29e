"""Finished frames of one video on disk: run lengths in pieces, each with the session's state behind it."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from glus.errors import BusyError, InputError, name_some
from glus.files import read_json, write_json
from glus.inference.session import VideoSession
from glus.inference.state import SessionState, read_state, write_state
from glus.publishing import sync
from glus.records.schemas import SCHEMAS
from glus.records.tables import column_names, read_table, write_table

FRAMES_IN_A_PIECE = 32  # so much work is lost at most
FRAMES_IN_A_ROW_GROUP = 1024
JOB, STATE, LOCK = "job.json", "state.safetensors", "lock"


class Pieces:
    """Frames of a video that is not finished: a folder that holds the job, pieces and the state behind the last piece.

    A piece counts once the state that follows it is written; a resumed session begins there. One process at a time
    works in the folder: it holds it until it ends, however it ends.

    Args:
        folder: made with the first piece.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._num_waiting = 0
        self._count = 0
        self._lock: IO[str] | None = None

    def job(self, facts: Sequence[str]) -> dict[str, Any] | None:
        """What an earlier process was asked for; None: there was none.

        Args:
            facts: that it has to hold.

        Raises:
            InputError: it is damaged, or another version began it, whose tables have other columns.
            BusyError: another process is at work on it.
        """
        path = self._folder / JOB
        if not path.is_file():
            return None
        job = read_json(path)
        other = [f"{JOB} has no {fact}" for fact in facts if fact not in job]
        for piece in sorted(self._folder.glob("masks-*.parquet")):
            columns = set(column_names("segmented", piece)) ^ set(SCHEMAS["segmented"].names)
            other += [f"{piece.name} differs in the columns {name_some(sorted(columns))}"] if columns else []
        if other:
            raise InputError(
                f"{self._folder} was begun by another version of GLUS ({other[0]}), and this one cannot go on with it."
                " What is finished there stays as it is: go on with that version, or begin anew in another folder."
            )
        self._hold()
        return job

    def restore(self, session: VideoSession) -> int:
        """Takes a new session to where an earlier process left it; returns how many frames it has behind it."""
        for leftover in self._folder.glob(".*"):
            leftover.unlink()
        if not (self._folder / STATE).is_file():
            return 0
        state = read_state(self._folder / STATE)
        session.restore(state)
        self._count = state.facts["pieces"]
        return int(state.facts["frames"])

    def begin(self, job: Mapping[str, Any]) -> None:
        """Says what the pieces are of.

        Raises:
            BusyError: another process has begun on them meanwhile.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._hold()
        write_json(dict(job), self._folder / JOB)

    def add(self, rows: list[dict[str, Any]]) -> bool:
        """Takes the rows of a frame; true: it is time to `save`."""
        self._rows += rows
        self._num_waiting += 1
        return self._num_waiting >= FRAMES_IN_A_PIECE

    def save(self, session: VideoSession, num_frames: int) -> None:
        """Writes the waiting rows, and then where the session stands after `num_frames` frames."""
        if not self._rows:
            return
        write_table("segmented", self._rows, self._piece(self._count))
        sync(self._piece(self._count))
        state = session.state()
        facts = {**state.facts, "pieces": self._count + 1, "frames": num_frames}
        write_state(SessionState(facts, state.tensors), self._folder / STATE)
        self._count += 1
        self._rows, self._num_waiting = [], 0

    def in_order(self) -> Iterator[pa.Table]:
        """All rows by frame and sentence, some frames at a time, each of which is in a few pieces."""
        spans = []
        for number in range(self._count):
            frames = read_table("segmented", self._piece(number), ["frame_index"])["frame_index"]
            ends = pc.min_max(frames).as_py()
            spans.append((ends["min"], ends["max"], self._piece(number)))
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        for begin in range(first, last + 1, FRAMES_IN_A_ROW_GROUP):
            end = begin + FRAMES_IN_A_ROW_GROUP
            tables = [read_table("segmented", path) for low, high, path in spans if low < end and high >= begin]
            if tables:
                rows = pa.concat_tables(tables)
                frame = pc.field("frame_index")
                rows = rows.filter((frame >= begin) & (frame < end))
                yield rows.sort_by([("frame_index", "ascending"), ("sentence_number", "ascending")])

    def close(self) -> None:
        """Lets others work in the folder."""
        if self._lock is not None:
            self._lock.close()

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _hold(self) -> None:
        if self._lock is not None:
            return
        self._lock = (self._folder / LOCK).open("a", encoding="utf-8")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"Another `glus segment` is at work in {self._folder.parent}: wait for it, or name another folder."
            ) from None

    def _piece(self, number: int) -> Path:
        return self._folder / f"masks-{number:06d}.parquet"
