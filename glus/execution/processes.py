"""Work in several processes of one machine, each of which ends with the one that started it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from typing import Any, TypeVar

from glus.errors import GlusError

T = TypeVar("T")
R = TypeVar("R")

PR_SET_PDEATHSIG = 1
SECONDS_TO_CANCEL = 0.5  # the pool's thread drops what waits; before that it would stumble over dead workers


class _Process:
    """What this process knows of itself: its number among those at work, what builds its function, the function."""

    number = 0
    build: Callable[[], Callable[[Any], Any]]
    work: Callable[[Any], Any] | None = None


def process_number() -> int:
    """The place of this process among those that work side by side; 0 where it works alone. Decides its GPU."""
    return _Process.number


def start_beside(parent: int, number: int) -> None:
    """To be called first in a process that works beside others.

    Args:
        parent: process id of the one that started it.
        number: its place among them, counted from 0.
    """
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its own
    _Process.number = number


def map_in_processes(build: Callable[[], Callable[[T], R]], items: Iterable[T], count: int) -> Iterator[R]:
    """Results in the order of the items.

    Args:
        build: makes the function that does the work, once in each process (it loads the model, say). It has to be
            picklable, as items and results have.
        count: processes; with 1 everything happens in this one.
    """
    if count <= 1:
        yield from map(build(), items)
        return
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(count):
        numbers.put(number)
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, context, _start_worker, (os.getpid(), build, numbers)) as pool:
        try:
            yield from _in_order(pool, items, 2 * count)
        except KeyboardInterrupt:  # does not wait for the items at work
            pool.shutdown(wait=False, cancel_futures=True)
            time.sleep(SECONDS_TO_CANCEL)
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise


def _in_order(pool: Executor, items: Iterable[T], ahead: int) -> Iterator[Any]:
    """Results in the order of the items, of which some are taken ahead: each may hold the masks of a video."""
    waiting: deque[Future[Any]] = deque()
    for item in items:
        waiting.append(pool.submit(_do, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_worker(parent: int, build: Callable[[], Callable[[Any], Any]], numbers: Any) -> None:
    start_beside(parent, numbers.get())
    _Process.build = build


def _do(item: Any) -> Any:
    if _Process.work is None:  # not in the pool's initialiser, whose errors would lose their message
        _Process.work = _Process.build()
    return _Process.work(item)


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
