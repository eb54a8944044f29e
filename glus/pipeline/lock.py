"""One process for each step at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import psutil

from glus.errors import BusyError
from glus.execution.ties import wait_for_end

LOCKS = Path(".glus/locks")
SECONDS_TO_END = 10.0  # of a process whose parent has ended: it is about to


@contextmanager
def step_lock(name: str) -> Iterator[None]:
    """Holds a step's lock; the kernel frees it when the process ends, however it ends.

    Raises:
        BusyError: another process is at work on the step; names it.
    """
    LOCKS.mkdir(parents=True, exist_ok=True)
    path = LOCKS / f"{name}.lock"
    with path.open("a+", encoding="utf-8") as file:
        if not _take(file) and not (_outlast_orphan(_holder(path)) and _take(file)):
            raise BusyError(
                f"Step {name} is at work already: {_described(_holder(path))}."
                " Wait for it, or stop it, and start again."
            )
        file.truncate(0)
        started = datetime.now().astimezone().isoformat(timespec="seconds")
        json.dump({"pid": os.getpid(), "parent": os.getppid(), "started": started}, file)
        file.flush()
        yield


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _outlast_orphan(holder: dict[str, Any] | None) -> bool:
    """Waits for the end of a holder whose parent (a killed dvc) has ended; False for one that goes on."""
    try:
        orphaned = holder is not None and psutil.Process(holder["pid"]).ppid() != holder["parent"]
    except psutil.NoSuchProcess:  # it has just ended
        return True
    return orphaned and holder is not None and wait_for_end(holder["pid"], SECONDS_TO_END)


def _holder(path: Path) -> dict[str, Any] | None:
    try:
        holder: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:  # between another process's locking and its writing
        return None
    return holder


def _described(holder: dict[str, Any] | None) -> str:
    return f"process {holder['pid']}, since {holder['started']}" if holder else "a process that has just started"
