"""What a step tells MLflow, on disk until MLflow has it: sent later where the server is away or the sender is killed.

Sending a message twice changes nothing in MLflow (equal values, parameters and files are kept once), so all of a step
that was not told to its end is told again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from glus.pipeline.mlflow_store import without_password

Message = dict[str, Any]

UNSENT = Path(".glus/unsent")
MESSAGES = "messages.jsonl"


class Spool:
    """The messages of one step, in a folder that is locked while a process sends them."""

    def __init__(self, folder: Path, file: IO[str]) -> None:
        self.folder = folder
        self._file = file
        self._pictures = 0

    @classmethod
    def create(cls, uri: str) -> Spool:
        """A new folder for messages to the store `uri`."""
        folder = UNSENT.resolve() / f"{time.time_ns()}-{os.getpid()}"
        folder.mkdir(parents=True)
        file = (folder / MESSAGES).open("a+", encoding="utf-8")
        fcntl.flock(file, fcntl.LOCK_EX)
        spool = cls(folder, file)
        spool._write({"uri": without_password(uri)})
        return spool

    def keep(self, message: Message) -> Message:
        """Writes a message down; a file that it names is linked here, as it may be replaced before it is sent."""
        if message["kind"] == "artifact":
            message = message | {"path": str(self._kept(Path(message["path"])))}
        self._write(message)
        return message

    def remove(self) -> None:
        """All has been sent, or never will be."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._file.close()

    def messages(self) -> Iterator[Message]:
        """What was written down, without a last line that was cut off; begins with `uri`."""
        self._file.seek(0)
        for line in self._file:
            with suppress(ValueError):
                yield json.loads(line)

    def _write(self, message: Message) -> None:
        self._file.write(json.dumps(message) + "\n")
        self._file.flush()

    def _kept(self, path: Path) -> Path:
        self._pictures += 1
        target = self.folder / str(self._pictures) / path.name
        target.parent.mkdir()
        with suppress(FileNotFoundError):  # it is gone already, which is said when it is sent
            try:
                os.link(path, target)
            except OSError:  # another file system, or one without links
                shutil.copy2(path, target)
        return target


def unsent(uri: str) -> Iterator[tuple[Spool, list[Message]]]:
    """What earlier steps have left for a store, oldest first, and nobody is sending now; each ends with `finish`."""
    for folder in sorted(UNSENT.resolve().iterdir()) if UNSENT.is_dir() else ():
        try:
            file = (folder / MESSAGES).open("a+", encoding="utf-8")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process sends it, or has just sent it
            continue
        spool = Spool(folder, file)
        store, *messages = list(spool.messages()) or [{}]
        if not messages:
            spool.remove()
        elif store.get("uri") == without_password(uri):
            if messages[-1]["kind"] != "finish":
                messages.append({"kind": "finish", "status": "KILLED", "time": (folder / MESSAGES).stat().st_mtime})
            yield spool, messages
