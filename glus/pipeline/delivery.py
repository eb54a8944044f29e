"""The order in which a step's messages reach MLflow: what waits, what is tried again, what is given up and said."""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import takewhile
from typing import Protocol

from glus.pipeline.spool import UNSENT, Message, Spool

logger = logging.getLogger(__name__)

RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
SECONDS_TO_INSIST = 10.0  # at the end of a step, for a database that another process holds

Letter = tuple[Spool, Message]


class RefusedError(Exception):
    """MLflow will not take this run; the message says why and what to do."""


class UnavailableError(Exception):
    """MLflow cannot be reached just now."""


class BusyDatabaseError(UnavailableError):
    """Another process holds the database."""


class PictureError(Exception):
    """A file cannot be kept; the run goes on without it."""


class Carrier(Protocol):
    """Whoever carries out a message."""

    def handle(self, message: Message) -> None:
        """Carries out one message, of `metrics` all `rows` at once; raises the errors above."""


class Delivery:
    """Carries out messages until None arrives; while MLflow is away they wait, and the step goes on.

    Args:
        left: what earlier steps have left, which goes first.
    """

    def __init__(
        self, messages: queue.SimpleQueue[Letter | None], carrier: Carrier, left: Iterable[Letter] = ()
    ) -> None:
        self._messages = messages
        self._carrier = carrier
        self._waiting = deque(left)
        self._refused: set[Spool] = set()
        self._ended: float | None = None  # when the step told its end
        self._next_try = 0.0
        self._failures = 0
        self._lost_pictures = False

    def run(self) -> None:
        """Returns when all is done, or when waiting does not help: the rest is kept for a later step."""
        try:
            while self._ended is None or self._waiting:
                self._receive()
                if time.monotonic() >= self._next_try:
                    self._carry_out()
        except UnavailableError as error:
            logger.warning("%s What is not there yet is kept in %s; the next step sends it.", error, UNSENT)

    def _receive(self) -> None:
        pause = max(0.0, self._next_try - time.monotonic())
        if self._ended is not None:
            time.sleep(pause)
            return
        with suppress(queue.Empty):
            letter = self._messages.get(timeout=pause if self._waiting else None)
            while letter is not None:
                self._waiting.append(letter)
                letter = self._messages.get_nowait()
            self._ended, self._next_try = time.monotonic(), 0.0

    def _carry_out(self) -> None:
        while self._waiting:
            spool, message, number = self._first()
            try:
                if spool not in self._refused:
                    self._carrier.handle(message)
            except PictureError as error:
                if not self._lost_pictures:
                    logger.warning("%s", error)
                self._lost_pictures = True
            except RefusedError as error:
                self._refused.add(spool)
                logger.warning("%s This step is not tracked any further.", error)
            except UnavailableError as error:
                return self._postpone(error)
            for _ in range(number):
                self._waiting.popleft()
            self._failures = 0
            if message["kind"] == "finish":
                spool.remove()
        return None

    def _first(self) -> tuple[Spool, Message, int]:
        """What is to be sent first, and how many letters it stands for.

        Values that were logged one after the other are one message: after an outage there may be thousands.
        """
        spool, message = self._waiting[0]
        same = takewhile(lambda letter: letter[0] is spool and letter[1]["kind"] == "metrics", self._waiting)
        rows = [{key: value for key, value in logged.items() if key != "kind"} for _, logged in same]
        return (spool, {"kind": "metrics", "rows": rows}, len(rows)) if rows else (spool, message, 1)

    def _postpone(self, error: UnavailableError) -> None:
        """Has the first message tried again later; at the end of the step only if that is worth a moment."""
        if self._ended is not None:
            seconds = time.monotonic() - self._ended
            if not isinstance(error, BusyDatabaseError) or seconds > SECONDS_TO_INSIST:
                raise error
        elif self._failures == 0:
            logger.warning("%s The step goes on, and MLflow is tried again until it ends.", error)
        self._next_try = time.monotonic() + RETRY_DELAYS[min(self._failures, len(RETRY_DELAYS) - 1)]
        self._failures += 1
