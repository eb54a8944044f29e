"""Runs the command line with the step `stage` replaced: `python stub.py ACTION COMMAND ...`; used by subprocesses."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import torch

import glus.steps
from glus.cli import main
from glus.execution import ties
from glus.execution.processes import map_in_processes
from glus.pipeline import runner
from glus.pipeline.context import StepContext


def finish(context: StepContext) -> None:
    """Writes the step's outputs, going on from the pieces that are there."""
    for number in range(3):
        piece = context.work / f"piece-{number}"
        if not piece.exists():
            piece.write_text(context.step.name)
    for name in ("data/staged", "data/raw/synthetic"):
        folder = context.work / Path(name).name  # of its own: published files are links to it
        folder.mkdir(exist_ok=True)
        (folder / "table").write_text(name)
        context.publish_directory(folder, Path(name))


def wait(context: StepContext) -> None:
    """Finishes one piece and goes on for ever."""
    (context.work / "piece-0").write_text("done before")
    print("working", flush=True)
    while True:
        time.sleep(0.05)


def wait_deaf(context: StepContext) -> None:
    """Goes on for ever in C code, where no signal is heard."""
    mutex = ctypes.create_string_buffer(64)
    print("working", flush=True)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)


def lose_a_worker(context: StepContext) -> None:
    """Works with two processes, of which one is killed."""
    made = map_in_processes(partial(partial, kill_at), range(6), 2)
    for _ in made:
        pass


def kill_at(number: int) -> None:
    """The worker that comes to 3 is killed."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk(context: StepContext) -> None:
    """Meets a full disk half-way."""
    (context.work / "piece-0").write_text("done before")
    Path("/dev/full").write_text("no space for this")


def exhaust_memory(context: StepContext) -> None:
    """Asks for more memory than there is, as torch says it on a CPU."""
    (context.work / "piece-0").write_text("done before")
    torch.empty(1 << 60, dtype=torch.uint8)


def fail(context: StepContext) -> None:
    """Has a bug."""
    raise ZeroDivisionError("unforeseen")


ACTIONS: dict[str, Callable[[StepContext], None]] = {
    action.__name__: action for action in (finish, wait, wait_deaf, lose_a_worker, fill_the_disk, exhaust_memory, fail)
}


def stub(action: str) -> ModuleType:
    """A module to stand for `glus.steps.stage`."""
    module = ModuleType("glus.steps.stage")
    module.run = lambda context, keep_going=False: ACTIONS[action](context)  # type: ignore[attr-defined]
    return module


if __name__ == "__main__":
    sys.modules["glus.steps.stage"] = glus.steps.stage = stub(sys.argv[1])  # type: ignore[attr-defined]
    if sys.argv[1] == "wait":  # it hears, and may take the time of a busy machine to put things in order
        ties.SECONDS_TO_STOP = 600.0
        runner.interrupted_by_sigterm = partial(runner.interrupted_by_sigterm, 600.0)  # type: ignore[attr-defined]
    main(sys.argv[2:])
