"""What a step asks of whoever works on a shard, as files in the scratch folder that all machines share."""

from __future__ import annotations

import os
import pickle
import secrets
import shutil
import socket
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from glus.errors import GlusError, InputError
from glus.execution.pieces import StepPieces
from glus.files import read_json, write_json, write_refusal

WORK = Path(".glus/work")  # requests lie below it
THREADS = "OMP_NUM_THREADS"
FOLDER, PIECES, LEASE = ".shards", "pieces.pickle", "lease"


@dataclass(frozen=True)
class Shard:
    """Some pieces that one process makes, one after the other.

    Attributes:
        project: the project's folder, the same path on every machine.
        request: the file of the request, relative to it.
        token: of the step that asks; it stands in the file too, so whoever finds it there sees the same folder.
    """

    project: str
    request: str
    token: str

    @property
    def file(self) -> Path:
        """The request."""
        return Path(self.project, self.request)

    @property
    def sign(self) -> Path:
        """Signs of life of whoever works on it."""
        return self.file.with_suffix(".sign")

    @property
    def outcome(self) -> Path:
        """What it ended with, where it ended with an error."""
        return self.file.with_suffix(".outcome")


class Requests:
    """Writes the requests of one piece of work; nobody else's are taken for them.

    Args:
        pieces: what is to be made.
    """

    def __init__(self, pieces: StepPieces) -> None:
        self.token = secrets.token_hex(8)
        self._devices = pieces.devices
        self._folder = pieces.folder / FOLDER
        self.withdraw()  # what a run that was killed asked for
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / PIECES).write_bytes(pickle.dumps(pieces))
        self._count = 0

    @property
    def lease(self) -> Path:
        """Signs of life of the step: without them, nobody goes on working for it."""
        return self._folder / LEASE

    def write(self, numbers: Sequence[int]) -> Shard:
        """Asks for some pieces."""
        file = self._folder / f"{self._count:05d}-{self.token}.json"  # an orphan of an earlier run writes beside it
        self._count += 1
        threads = int(os.environ.get(THREADS, "1"))
        asked = {"token": self.token, "devices": self._devices, "threads": threads, "numbers": list(numbers)}
        write_json(asked, file)
        return Shard(Path.cwd().as_posix(), file.as_posix(), self.token)

    def withdraw(self) -> None:
        """Asks for nothing any more."""
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True)
class Asked:
    """A request as it was read.

    Attributes:
        numbers: of the pieces.
        devices: how many it needs, where there are any.
        threads: of each process, as the step has them.
    """

    numbers: list[int]
    devices: int
    threads: int


def read_request(shard: Shard) -> Asked:
    """Reads a request in the project's folder.

    Raises:
        InputError: it is not there: this machine has another folder under that path.
    """
    inside = shard.file.resolve().is_relative_to(Path(shard.project, WORK).resolve())
    try:
        content = read_json(shard.file) if inside else {}
    except InputError:
        content = {}
    if content.get("token") != shard.token:
        raise InputError(
            f"{shard.file} is not what the step wrote, on {socket.gethostname()}: the machines that shards are worked"
            " on need the project's folder, with .glus/work and all artifacts, under the same path on a file system"
            " that they share (docs/engines.md). Start the worker there, or set compute.engine to local."
        )
    return Asked(content["numbers"], content["devices"], content["threads"])


def read_pieces(shard: Shard) -> StepPieces:
    """The work, as the step wrote it beside the request; it may run whatever it names, as the project's code may."""
    pieces: StepPieces = pickle.loads(shard.file.with_name(PIECES).read_bytes())
    return pieces


def write_outcome(shard: Shard, error: Exception) -> None:
    """Tells the step why a shard failed."""
    if isinstance(error, GlusError):
        code, message = error.exit_code, str(error)
    elif refusal := write_refusal(error):
        code, message = 1, f"{refusal.why} ({Path(shard.project)}). {refusal.remedy} and start again."
    else:
        code, message = 1, f"{type(error).__name__}: {error} (unforeseen)\n{traceback.format_exc()}"
    write_json({"exit_code": code, "message": message, "host": socket.gethostname()}, shard.outcome)


def raise_outcome(shard: Shard) -> None:
    """Raises what a shard failed with; nothing where it was killed, which leaves no word.

    Raises:
        GlusError: what was said there, with its exit code, and the machine.
    """
    if not shard.outcome.exists():
        return
    told = read_json(shard.outcome)
    kind = InputError if told["exit_code"] == InputError.exit_code else GlusError
    raise kind(f"{told['message']} (on {told['host']})")
