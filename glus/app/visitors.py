"""Who is there: a visitor for each open tab, with a folder of its own."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from uuid import uuid4

from glus.app.visitor import Service, Visitor
from glus.errors import InputError

IDLE_S = 1800.0  # who has seen nothing of the page for so long gives way to others


class Visitors:
    """The visitors of a page, by the name that the page has for a tab.

    Args:
        service: what they share.
        folder: of their folders.
        most: at once; each holds memory of its own.
    """

    def __init__(self, service: Service, folder: Path, most: int) -> None:
        self._service = service
        self._folder = folder
        self._most = most
        self._there: dict[str, Visitor] = {}
        self._lock = threading.Lock()

    def of(self, tab: str) -> Visitor:
        """The visitor of a tab, a new one where it is new.

        Raises:
            InputError: there are as many already as the page takes.
        """
        with self._lock:
            found, gone = self._there.get(tab), None
            if found is None:
                gone = self._make_room()
                found = self._there[tab] = Visitor(self._service, self._folder / uuid4().hex)
        if gone is not None:
            gone.close()
        return found

    def _make_room(self) -> Visitor | None:
        """Lets who has been idle for too long go, where there is no room."""
        if len(self._there) < self._most:
            return None
        tab, idle = min(self._there.items(), key=lambda item: item[1].seen)
        if time.monotonic() - idle.seen < IDLE_S:
            tabs = f"{self._most} tab{'s' * (self._most > 1)}"
            raise InputError(
                f"This page is in use in {tabs}, and takes no more; try again when one of them is closed or"
                " has been idle for half an hour, or start `glus app` with a higher --max-visitors."
            )
        return self._there.pop(tab)

    def leave(self, tab: str) -> None:
        """The tab was closed: its work ends and its files are removed."""
        with self._lock:
            visitor = self._there.pop(tab, None)
        if visitor is not None:
            visitor.close()

    def stop(self) -> None:
        """Ends everybody's work after the frame that is being computed."""
        with self._lock:
            for visitor in self._there.values():
                visitor.stop()
