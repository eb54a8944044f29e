"""Who is there: a visitor for each open tab, with a folder of its own."""

from __future__ import annotations

import threading
from pathlib import Path
from uuid import uuid4

from glus.app.visitor import Service, Visitor
from glus.errors import InputError


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
            if tab not in self._there:
                if len(self._there) >= self._most:
                    raise InputError(
                        f"This page is in use in {self._most} tabs, and takes no more; try again when one of them is"
                        " closed, or start `glus app` with a higher --max-visitors."
                    )
                self._there[tab] = Visitor(self._service, self._folder / uuid4().hex)
            return self._there[tab]

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
