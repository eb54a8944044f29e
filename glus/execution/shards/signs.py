"""Signs of life in a shared folder: a file that changes every few seconds for as long as its writer is alive.

Changes are compared, never times, so the clocks of the machines need not agree.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS_BETWEEN_SIGNS = 5.0
SECONDS_TO_BELIEVE = 120.0  # without a further sign; network file systems may show a change a minute late
SECONDS_TO_BEGIN = 900.0  # without the first one: programs are read from a slow disk by many at once


@contextmanager
def signs_of_life(file: Path, token: str) -> Iterator[None]:
    """Gives signs from a thread of its own while the block runs; then the file is removed.

    Args:
        token: a word that tells this writer from others.
    """
    ended = threading.Event()
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    _give(number, token, 0)
    thread = threading.Thread(target=_give_on, args=(number, token, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        file.unlink(missing_ok=True)
        thread.join()
        os.close(number)


def _give_on(number: int, token: str, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(SECONDS_BETWEEN_SIGNS):
        count += 1
        _give(number, token, count)


def _give(number: int, token: str, count: int) -> None:
    os.pwrite(number, f"{token} {count:012d}\n".encode(), 0)  # in place: a new name would be seen later
    os.fsync(number)


class Watch:
    """Looks now and then whether the other side is still there.

    Args:
        file: where its signs are.
        token: what it calls itself.
    """

    def __init__(self, file: Path, token: str) -> None:
        self._file, self._token = file, token
        self._seen, self._since = "", time.monotonic()

    def is_there(self) -> bool:
        """Whether the file is this one's."""
        return self._read().split(" ")[0] == self._token

    def is_silent(self) -> bool:
        """Whether nothing has changed for so long that nobody can be alive there."""
        if (found := self._read()) != self._seen:
            self._seen, self._since = found, time.monotonic()
        return time.monotonic() - self._since > (SECONDS_TO_BELIEVE if self._seen else SECONDS_TO_BEGIN)

    def _read(self) -> str:
        try:
            return self._file.read_text(encoding="utf-8")
        except OSError:
            return ""
