"""One process per step, which ends with the process that started it."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from glus.errors import BusyError, GlusError

PR_SET_PDEATHSIG = 1


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


def die_with_parent(parent: int) -> None:
    """Asks the kernel to send SIGTERM when the parent process ends (Linux; elsewhere nothing happens).

    Without it a step outlives a killed `dvc` and goes on beside the next one.

    Args:
        parent: the parent's process id, read before the call.

    Raises:
        GlusError: the parent ended before the kernel was asked.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise GlusError(f"The process that started this step ({parent}) has ended; nothing was done.")
