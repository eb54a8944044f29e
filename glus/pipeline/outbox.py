"""Where the process that writes to MLflow puts what it is told, on disk and in a queue, until it is told the end."""

from __future__ import annotations

import queue
import threading
import time

from glus.pipeline.delivery import Letter
from glus.pipeline.spool import Message, Spool


class Outbox:
    """The messages of one step, for `Delivery`; several threads may put them in."""

    def __init__(self, uri: str) -> None:
        self.letters: queue.SimpleQueue[Letter | None] = queue.SimpleQueue()
        self._spool = Spool.create(uri)
        self._lock = threading.Lock()
        self._finished = False

    def put(self, message: Message) -> None:
        """Takes a message; after `finish` nothing more."""
        with self._lock:
            if not self._finished:
                self._finished = message["kind"] == "finish"
                self.letters.put((self._spool, self._spool.keep(message)))

    def close(self, status: str) -> None:
        """The step says no more; where it has not said how it ended, it was killed."""
        self.put({"kind": "finish", "status": status, "time": time.time()})
        self.letters.put(None)
