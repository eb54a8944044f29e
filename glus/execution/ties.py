"""Nothing outlives what started it, and nothing that has to end takes long over it (Linux; elsewhere nothing happens).

Whoever starts a process uses one of these, whatever starts it (a pool, torch, dvc, Prefect):

- `die_with_parent`, in a process whose work may be cut off anywhere: the kernel kills it.
- `tie_to_parent` and `end_with_parent`, in one that has something to put in order: SIGTERM, and soon after a hard end.
- `ending_within`, around work that a signal ends: hard, where the main thread waits in C code and hears nothing.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import NoReturn

PARENT = "GLUS_PARENT"  # process id of what starts `python -m glus`; dvc.yaml names it
SECONDS_TO_STOP = 3.0  # of a step; with what ends after it, all are gone within 10
PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Asks the kernel to send this process a signal when its parent ends.

    The kernel means the thread that started this process: only for those that a main thread starts.

    Args:
        parent: the parent's process id, told by the parent. Where it has ended already, so does this process.
    """
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)


def tied() -> Callable[[], None]:
    """For `preexec_fn`, where this process has one thread: the command that it starts gets SIGTERM when it ends."""
    parent = os.getpid()
    return lambda: die_with_parent(parent, signal.SIGTERM)


@cache
def tie_to_parent() -> None:
    """To be called in the first line of a command: ends with the process that started it.

    That one's process id is in `GLUS_PARENT` where it is known beforehand: it may be gone before the first line runs.
    """
    told = os.environ.pop(PARENT, None)  # popped: it is not the parent of this process's children
    parent = int(told or os.getppid())
    adopted = told == "1" and os.getsid(0) != 1  # where process 1 is a container's dvc, its session is ours
    if adopted or os.getppid() != parent:
        sys.exit("glus: The process that started this command has ended; nothing was done.")
    if parent != 0:  # 0: it lies outside of the container
        end_with_parent(parent, SECONDS_TO_STOP)


def end_with_parent(parent: int, seconds: float) -> None:
    """When the parent ends this process gets SIGTERM, and is ended `seconds` later if it is still there.

    Args:
        parent: the parent's process id; where it has ended already, SIGTERM comes at once.
    """
    if sys.platform != "linux":
        return
    event = _end_of(parent)
    if os.getppid() != parent:  # asked after opening, so that it is the parent that was opened
        event = None
    _in_background(_end_after, event, seconds)


def end_with_reader(descriptor: int, seconds: float) -> None:
    """As `end_with_parent`, when nobody is left to read the pipe that this process writes to."""
    if sys.platform == "linux":
        _in_background(_end_after, (descriptor, 0), seconds)


def wait_for_end(process: int, seconds: float) -> bool:
    """Waits until a process, which need not be a child, has ended; False if it has not within the time."""
    return _ready(_end_of(process), seconds)


@contextmanager
def ending_within(seconds: float) -> Iterator[None]:
    """Once SIGTERM or Ctrl-C has come, the process ends after `seconds` at the latest, whatever its main thread does.

    The signals need handlers. To be called in the main thread.
    """
    arrived, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    before = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    _in_background(_end_after_signal, arrived, seconds)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(wakeup)


def leave(code: int) -> NoReturn:
    """Ends this process, which has nothing left to do, without taking apart what it has imported.

    With torch that takes seconds on a busy machine, in which no signal is heard.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


def end_hard(message: str, code: int = 1) -> None:
    """Says why and ends this process now, without cleaning up; what is tied to it goes with it."""
    try:
        os.write(2, f"glus: {message}\n".encode())
    finally:
        os._exit(code)


def _in_background(function: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def _end_after_signal(arrived: int, seconds: float) -> None:
    while numbers := os.read(arrived, 64):
        if {signal.SIGTERM, signal.SIGINT} & set(numbers):
            threading.Event().wait(seconds)  # the main thread may leave `ending_within` and wait elsewhere
            end_hard("Interrupted, and stopped in the middle of a wait. What was finished is kept.")
    os.close(arrived)


def _end_after(event: tuple[int, int] | None, seconds: float) -> None:
    _ready(event, None)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)  # to that thread, so that its system call is interrupted
    threading.Event().wait(seconds)
    os._exit(1)


def _end_of(process: int) -> tuple[int, int] | None:
    """What to poll for a process's end; None if it has ended."""
    try:
        return os.pidfd_open(process), select.POLLIN
    except ProcessLookupError:
        return None


def _ready(event: tuple[int, int] | None, seconds: float | None) -> bool:
    if event is None:
        return True
    poll = select.poll()
    poll.register(*event)
    return bool(poll.poll(None if seconds is None else seconds * 1000))
