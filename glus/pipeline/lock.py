"""One process per step."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from glus.errors import BusyError


@contextmanager
def step_lock(name: str, folder: Path = Path(".glus/locks")) -> Iterator[None]:
    """Holds a step's lock; the kernel frees it when the process ends, however it ends.

    Raises:
        BusyError: another process is at work on the step; names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"Step {name} is at work already: {_holder(path)}. Wait for it, or stop it, and start again."
            ) from error
        file.truncate(0)
        json.dump({"pid": os.getpid(), "started": datetime.now().astimezone().isoformat(timespec="seconds")}, file)
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:  # between another process's locking and its writing
        return "a process that has just started"
    return f"process {holder['pid']}, since {holder['started']}"
