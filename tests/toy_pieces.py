"""Work for machines that are processes of this one: pieces that hold a square, and what may happen to their makers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path

import psutil
from local_imports import ROOT
from patience import SECONDS, comes_true

from glus.errors import InputError
from glus.execution.pieces import StepPieces
from glus.execution.shards.request import Shard
from glus.execution.shards.spread import RunState

HERE = Path(__file__).parent


def squares(count: int, event: Callable[[int], None] | None = None, devices: int = 0) -> StepPieces:
    """StepPieces 0 to `count`; `event` comes before each is written."""
    names = tuple(f"{number:07d}-{number**2:04x}.txt" for number in range(count))
    return StepPieces(Path(".glus/work/toy/pieces"), names, partial(Square, event), devices)


class Square:
    def __init__(self, event: Callable[[int], None] | None) -> None:
        self.event = event

    def __call__(self, number: int, file: Path) -> None:
        file.write_text(f"{number**2}\n" * 1000)
        if self.event:
            self.event(number)
        with Path("made").open("a") as made:
            made.write(f"{number}\n")


def kill_once(at: int, number: int) -> None:
    if number == at and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)


def kill_always(at: int, number: int) -> None:
    if number == at:
        os.kill(os.getpid(), signal.SIGKILL)


def leave(at: int, number: int) -> None:
    if number == at and not Path("left").exists():
        Path("left").touch()
        sys.exit(0)


def lose_machine(at: int, test: int, number: int) -> None:
    """Kills all below the process of the test, the worker first, as a machine that goes dark; once piece 0 is begun."""
    begun, lost = Path("begun"), Path("lost")
    if number == 0:
        begun.touch()
        comes_true(lost.exists)
    if number == at and not lost.exists():
        comes_true(begun.exists)
        lost.touch()
        machine = [psutil.Process(), *takewhile(lambda process: process.pid != test, psutil.Process().parents())]
        for process in reversed(machine):
            process.kill()


def refuse(at: int, number: int) -> None:
    if number == at:
        raise InputError("seven is not a number of ours")


def note_devices(_: int) -> None:
    Path(f"devices-{os.getpid()}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])


def wait(_: int) -> None:
    """Names the process in `at-work`, which is whole once it is there, and goes on for ever."""
    aside = Path(f"at-work-{os.getpid()}")
    aside.write_text(str(os.getpid()))
    aside.replace("at-work")
    time.sleep(2 * SECONDS)


def made() -> list[int]:
    """Numbers of the pieces in the order in which they were made, each as often as it was."""
    return [int(line) for line in Path("made").read_text().splitlines()]


def content(pieces: StepPieces) -> list[bytes]:
    return [file.read_bytes() for file in pieces.require_all()]


def environment() -> dict[str, str]:
    """Of a machine that has the project's code, and these toys."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, HERE / "execution")))}


class Machines:
    """A cluster: a process for each shard at once."""

    def __init__(self, project: Path | None = None) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.project = project

    def submit(self, shard: Shard, devices: int) -> str:
        command = [sys.executable, "-m", "glus", "shard", shard.request, shard.token]
        folder = self.project or shard.project
        self.processes.append(subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.DEVNULL))
        return str(len(self.processes) - 1)

    def states(self, runs: Sequence[str]) -> dict[str, RunState]:
        codes = {run: self.processes[int(run)].poll() for run in runs}
        return {run: RunState("running") if code is None else RunState("ended", f"exit code {code}")
                for run, code in codes.items()}  # fmt: skip

    def cancel(self, runs: Sequence[str]) -> None:
        for run in runs:
            self.processes[int(run)].terminate()

    @contextmanager
    def __call__(self) -> Iterator["Machines"]:
        yield self
