"""Work in several processes of one machine, each of which ends with the one that started it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from glus.errors import KilledError
from glus.execution.ties import die_with_parent

T = TypeVar("T")
R = TypeVar("R")


class _Process:
    """What this process knows of itself: its number among those at work, what builds its function, the function."""

    number = 0
    build: bytes
    work: Callable[[Any], Any] | None = None


def process_number() -> int:
    """The place of this process among those that work side by side; 0 where it works alone. Decides its GPU."""
    return _Process.number


def start_beside(parent: int, number: int) -> None:
    """To be called first in a process that works beside others: before it imports what takes a while.

    Args:
        parent: process id of the one that started it.
        number: its place among them, counted from 0.
    """
    die_with_parent(parent)
    signal.set_wakeup_fd(-1)  # a forked process has the parent's, and its signals are not the parent's
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its own
    _Process.number = number


def map_in_processes(build: Callable[[], Callable[[T], R]], items: Iterable[T], count: int) -> Iterator[R]:
    """Results in the order of the items.

    Args:
        build: makes the function that does the work, once in each process (it loads the model, say). It has to be
            picklable, as items and results have.
        count: processes; with 1 everything happens in this one.

    Raises:
        KilledError: one of the processes was killed.
    """
    if count <= 1:
        yield from map(build(), items)
        return
    with process_pool(count, build) as pool:
        yield from _in_order(pool, items, 2 * count)


@contextmanager
def process_pool(count: int, build: Callable[[], Callable[[Any], Any]] | None = None) -> Iterator[Executor]:
    """Processes to work with; when one of them is killed, or this one is interrupted, all are ended.

    Raises:
        KilledError: one of the processes was killed.
    """
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for number in range(count):
        numbers.put(number)
    # As bytes: a process reads what starts it, and imports what that needs, before its first line runs.
    arguments = (os.getpid(), pickle.dumps(build), numbers)
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(count, context, _start_worker, arguments) as pool:
        try:
            yield pool
        except (BrokenProcessPool, BrokenPipeError) as error:  # a broken pipe: killed while it was being started
            _kill_all_but(before)
            raise KilledError(
                f"One of the {count} processes that worked side by side was killed, perhaps because memory ran out;"
                " the others were ended. Start again, with fewer processes if it happens again."
            ) from error
        except (KeyboardInterrupt, GeneratorExit):  # does not wait for the items at work
            _kill_all_but(before)
            raise


def _kill_all_but(others: set[BaseProcess]) -> None:
    for process in set(multiprocessing.active_children()) - others:
        process.kill()


def _in_order(pool: Executor, items: Iterable[T], ahead: int) -> Iterator[Any]:
    """Results in the order of the items, of which some are taken ahead: each may hold the masks of a video."""
    waiting: deque[Future[Any]] = deque()
    for item in items:
        waiting.append(pool.submit(_do, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start_worker(parent: int, build: bytes, numbers: Any) -> None:
    start_beside(parent, numbers.get())
    _Process.build = build


def _do(item: Any) -> Any:
    if _Process.work is None:  # not in the pool's initialiser, whose errors would lose their message
        build: Callable[[], Callable[[Any], Any]] = pickle.loads(_Process.build)  # from the process that started this
        _Process.work = build()
    return _Process.work(item)
