"""The order in which a step's messages reach MLflow: what waits, what is tried again, what is given up and said."""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
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
        """Carries out one message; raises the errors above."""


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
            message = self._messages.get(timeout=pause if self._waiting else None)
            if message is None:
                self._ended, self._next_try = time.monotonic(), 0.0
            else:
                self._waiting.append(message)

    def _carry_out(self) -> None:
        while self._waiting:
            spool, message = self._waiting[0]
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
            self._waiting.popleft()
            self._failures = 0
            if message["kind"] == "finish":
                spool.remove()
        return None

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
