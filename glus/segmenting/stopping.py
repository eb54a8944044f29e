"""Ctrl-C after the frame at work, and failures of the machine said in a sentence."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch

from glus.errors import GlusError, InputError, is_out_of_memory
from glus.files import write_refusal
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
    """Says what to do about a disk that takes no more, too little memory, or a folder that cannot be written.

    Raises:
        GlusError: instead of what Python, Arrow, FFmpeg and torch raise.
    """
    kept = f"Finished frames of {job.video} are kept in {job.output}"
    try:
        yield
    except GlusError:
        raise
    except Exception as error:
        if refusal := write_refusal(error):
            text = (
                f"{job.output} cannot be written: {refusal.why}. {kept}. {refusal.remedy} and give the command again."
            )
            raise GlusError(text) from error
        if is_out_of_memory(error):
            where = "GPU" if isinstance(error, torch.cuda.OutOfMemoryError) else "machine"
            raise GlusError(
                f"The {where} has too little memory for {len(job.sentences)} sentences at a time. {kept}; close other"
                " programs and give the command again, or ask in another folder for fewer sentences or a lower"
                " --precision."
            ) from error
        if isinstance(error, OSError) and Path(str(error.filename)).is_relative_to(job.output):
            raise InputError(f"{job.output} cannot be written ({error.strerror}); name another folder.") from error
        raise
