"""Ctrl-C after the frame at work, and failures of the machine said in a sentence."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

import torch

from glus.errors import GlusError, is_out_of_memory
from glus.files import is_disk_full
from glus.segmenting.jobs import Job


class Stop:
    """Turns the first Ctrl-C into a question that the loop asks after each frame; a second one interrupts at once.

    Attributes:
        asked: whether to stop.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Self:
        """Listens, where this is the main thread: others get no signals."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        """Listens no more."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)


@contextmanager
def plain_failures(job: Job) -> Iterator[None]:
    """Says what to do about a full disk or too little memory.

    Raises:
        GlusError: instead of what Python, Arrow, FFmpeg and torch raise.
    """
    kept = f"Finished frames of {job.video} are kept in {job.output}"
    try:
        yield
    except GlusError:
        raise
    except Exception as error:
        if is_disk_full(error):
            text = f"The disk of {job.output} is full. {kept}; free some space and give the command again."
            raise GlusError(text) from error
        if is_out_of_memory(error):
            where = "GPU" if isinstance(error, torch.cuda.OutOfMemoryError) else "machine"
            raise GlusError(
                f"The {where} has too little memory for {len(job.sentences)} sentences at a time. {kept}; close other"
                " programs and give the command again, or ask for fewer sentences in another folder."
            ) from error
        raise
