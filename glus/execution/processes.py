"""Work in several processes of one machine, each of which ends with the one that started it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, TypeVar

from glus.errors import GlusError, KilledError
from glus.execution.ties import die_with_parent

T = TypeVar("T")
R = TypeVar("R")

SECONDS_TO_END = 60.0  # of a process whose pipe has broken, on a busy machine; only then it says how it ended


class _Process:
    """What this process knows of itself: its number among those at work."""

    number = 0


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


@dataclass(frozen=True)
class _Worker:
    """A process at work, and the only pipe to it."""

    process: BaseProcess
    channel: Connection


class Pool:
    """Processes that work side by side, for as long as the context of `process_pool` lasts.

    Each has a pipe that nobody else holds, and a thread here that waits for its answer: whenever and however it dies,
    the pipe breaks. (The processes of `concurrent.futures` share pipes and locks; where one dies while the next one is
    being started, or with a lock, the others are waited for, or wait for ever.)
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads = ThreadPoolExecutor(count)
        self._failure: GlusError | None = None

    def map(self, build: Callable[[], Callable[[T], R]], items: Iterable[T]) -> Iterator[R]:
        """Results in the order of the items, of which some are taken ahead: each may hold the masks of a video.

        To be called in the main thread, with which the processes end. Arguments and errors: see `map_in_processes`.
        """
        builder = pickle.dumps(build)
        waiting: deque[Future[R]] = deque()
        for item in items:
            self._start_another()
            waiting.append(self._threads.submit(self._ask, builder, item))
            if len(waiting) > 2 * self._count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def stop(self) -> None:
        """Ends the processes, whatever they are at."""
        self._kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.process.join()
            worker.channel.close()

    def _start_another(self) -> None:
        if len(self._workers) < self._count:
            context = multiprocessing.get_context("spawn")
            own, others = context.Pipe()
            process = context.Process(target=_answer_all, args=(os.getpid(), len(self._workers), others), daemon=True)
            process.start()
            others.close()
            self._workers.append(_Worker(process, own))
            self._idle.put(self._workers[-1])
        if self._failure is not None:  # asked last: `_fail` ends either this process too, or the work here
            raise self._failure

    def _ask(self, builder: bytes, item: Any) -> Any:
        """Has an item worked on, in a thread."""
        question = pickle.dumps((builder, item))
        worker = self._idle.get()
        try:
            worker.channel.send_bytes(question)
            answer = worker.channel.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._fail(worker.process) from error
        finally:
            self._idle.put(worker)
        raised, result = pickle.loads(answer)  # from a process that was started here
        if raised is not None:
            raise raised
        return result

    def _fail(self, process: BaseProcess) -> GlusError:
        """Ends all processes because one has ended; what to say of it."""
        if self._failure is None:
            process.join(SECONDS_TO_END)
            self._failure = self._explained(process.exitcode)
        self._kill()
        return self._failure

    def _explained(self, code: int | None) -> GlusError:
        one = f"One of the {self._count} processes that worked side by side"
        if code is not None and code >= 0:
            return GlusError(f"{one} ended with exit code {code} (see above); the others were ended.")
        return KilledError(
            f"{one} was killed, perhaps because memory ran out; the others were ended."
            " Start again, with fewer processes if it happens again."
        )

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()


@contextmanager
def process_pool(count: int) -> Iterator[Pool]:
    """Processes to work with; when the context is left, however, all are ended."""
    pool = Pool(count)
    try:
        yield pool
    finally:
        pool.stop()


def map_in_processes(build: Callable[[], Callable[[T], R]], items: Iterable[T], count: int) -> Iterator[R]:
    """Results in the order of the items.

    Args:
        build: makes the function that does the work, once in each process (it loads the model, say). It has to be
            picklable, as items, results and errors have.
        count: processes; with 1 everything happens in this one.

    Raises:
        KilledError: one of the processes was killed.
        GlusError: one of the processes has ended by itself.
        Exception: what the work raised.
    """
    if count <= 1:
        yield from map(build(), items)
        return
    with process_pool(count) as pool:
        yield from pool.map(build, items)


def _answer_all(parent: int, number: int, channel: Connection) -> None:
    """What a process does: answers questions until nobody asks any more."""
    start_beside(parent, number)
    built, work = b"", None
    while True:
        try:
            question = channel.recv_bytes()
        except EOFError:
            return
        try:
            builder, item = pickle.loads(question)  # from the process that started this
            if builder != built:
                built, work = builder, pickle.loads(builder)()
            assert work is not None
            answer = pickle.dumps((None, work(item)))
        except Exception as error:  # noqa: BLE001, it is raised where the result is taken
            error.add_note(f"In process {number} of those side by side:\n{traceback.format_exc()}")
            answer = pickle.dumps((error, None))
        channel.send_bytes(answer)
