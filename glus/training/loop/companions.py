"""Processes that do their work together with this one: when one of them fails, so does all of it, at once."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from glus.errors import GlusError, KilledError
from glus.execution.processes import start_beside
from glus.execution.ties import SECONDS_TO_STOP, end_hard

SECONDS_TO_NOTICE = 1.0  # a broken connection, or the signal that ended the other, tells more than we can
SECONDS_TO_FAIL = 3.0  # what a broken connection came from

Ready = Callable[[], None]


class Companions:
    """The other processes, and a thread that waits for what they say and for their ends.

    Nothing that the main thread does here keeps it from hearing a signal, and where it waits elsewhere in C code for a
    process that is no more, the thread ends this process.
    """

    def __init__(self, count: int, work: Callable[..., None], arguments: Sequence[Any]) -> None:
        self._failure: GlusError | None = None
        self._ready, self._done, self._leaving = threading.Event(), threading.Event(), threading.Event()
        self._channels: dict[BaseProcess, Connection] = {}
        self._watch = threading.Thread(target=self._wait_for_news, daemon=True)
        self._count = count
        self._payload = pickle.dumps((work, arguments))

    def start(self) -> None:
        """Starts the processes 1 to `count`."""
        context = multiprocessing.get_context("spawn")
        for number in range(1, self._count + 1):
            own, others = context.Pipe(duplex=False)
            arguments = (os.getpid(), number, others, self._payload)
            process = context.Process(target=_work_beside, args=arguments, name=f"process {number}")
            process.start()
            others.close()
            self._channels[process] = own
        self._watch.start()

    def wait_until_ready(self) -> None:
        """Waits until each has called its `ready`."""
        self._ready.wait()
        self.check()

    def wait_until_done(self) -> None:
        """Waits until each has ended."""
        self._done.wait()
        self.check()

    def check(self, seconds: float = 0.0) -> None:
        """Raises what one of them failed with, if one has or does within the time."""
        if seconds:
            self._done.wait(seconds)
        if self._failure is not None:
            raise self._failure

    def interrupt(self, *_: object) -> None:
        """Signal handler: raises the failure in the main thread, wherever it is."""
        if not self._leaving.is_set():
            self.check()

    def stop(self) -> None:
        """Ends those that are still there."""
        self._leaving.set()
        for process in self._channels:
            process.kill()
        if self._watch.ident is not None:
            self._watch.join()

    def _wait_for_news(self) -> None:
        running = {os.pidfd_open(process.pid): process for process in self._channels if process.pid}
        starting = {channel: process for process, channel in self._channels.items()}
        while running:
            for news in wait([*running, *starting]):
                if isinstance(news, Connection):
                    del starting[news]
                    if self._hear(news) and not starting:
                        self._ready.set()
                elif isinstance(news, int):
                    os.close(news)
                    self._end(running.pop(news))
        self._done.set()

    def _hear(self, channel: Connection) -> bool:
        """Takes a message: that a process is ready (None), or the error that it ends with."""
        try:
            error = channel.recv()
        except EOFError:
            return False
        if error is not None:
            self._failure = self._failure or error
        return error is None

    def _end(self, process: BaseProcess) -> None:
        process.join()
        if process.exitcode == 0 or self._leaving.is_set():
            return
        channel = self._channels[process]
        while channel.poll() and self._hear(channel):
            pass
        self._fail(self._failure or self._unexplained(process))

    def _unexplained(self, process: BaseProcess) -> GlusError:
        code = process.exitcode or 0
        failed = f"1 of the {self._count} other training processes failed"
        if code > 0:
            return GlusError(f"{failed} (see above).")
        return KilledError(
            f"{failed} ({process.name} was killed by {signal.Signals(-code).name}, perhaps because memory ran out)."
            " Start again to go on from the last checkpoint."
        )

    def _fail(self, failure: GlusError) -> None:
        self._failure = failure
        self._ready.set()
        self._done.set()
        main = threading.main_thread().ident
        assert main is not None
        if self._leaving.wait(SECONDS_TO_NOTICE):
            return
        signal.pthread_kill(main, signal.SIGUSR1)
        if not self._leaving.wait(SECONDS_TO_STOP):
            end_hard(str(failure), failure.exit_code)


@contextmanager
def companions(count: int, work: Callable[..., None], *arguments: Any) -> Iterator[Companions]:
    """Starts `count` processes that run `work(ready, number, *arguments)`; none of them outlives the context.

    Args:
        work: picklable, as the arguments are; calls `ready` when what takes a while to import is there.

    Raises:
        GlusError: one of them failed: its own error, or how it ended.
    """
    others = Companions(count, work, arguments)
    before = signal.signal(signal.SIGUSR1, others.interrupt)
    try:
        others.start()
        yield others
    except GlusError:
        raise
    except Exception:
        others.check(SECONDS_TO_FAIL)
        raise
    finally:
        others.stop()
        signal.signal(signal.SIGUSR1, before)


def _work_beside(parent: int, number: int, channel: Connection, payload: bytes) -> None:
    start_beside(parent, number)
    work, arguments = pickle.loads(payload)  # imports what takes a while
    try:
        work(lambda: channel.send(None), number, *arguments)
    except GlusError as error:
        channel.send(error)
        sys.exit(error.exit_code)
