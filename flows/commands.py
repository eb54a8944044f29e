"""Commands that a flow run starts: they end with it, say what they do in its log, and show how far they are."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from glus.execution.progress import read_line

SUPERVISOR = Path(__file__).with_name("supervisor.py")  # found whatever folder the command runs in


@dataclass(frozen=True)
class Place:
    """Where a flow run works.

    Attributes:
        folder: the project, or a copy of it.
        execution: names the flow run for MLflow: all steps of one execution are one MLflow run.
        held: descriptors of locks that last until the commands have ended too, though the flow is killed before them.
    """

    folder: Path
    execution: str
    held: tuple[int, ...] = ()

    def run(self, command: list[str], progress: ProgressArtifact | None = None) -> int:
        """Runs a command that ends with this process, whatever happens to it; its lines go to the run's log."""
        logger = get_run_logger()

        def say(line: str) -> None:
            logger.info(line)
            if progress is not None:
                progress.read(line)

        with self._supervised(command, subprocess.STDOUT) as supervisor:
            for line in _lines(supervisor.stdout):
                say(line)
        return supervisor.returncode

    def ask(self, command: list[str]) -> str | None:
        """What a command prints; None where it fails."""
        with self._supervised(command, subprocess.DEVNULL) as supervisor:
            answer = "\n".join(_lines(supervisor.stdout))
        return answer if supervisor.returncode == 0 else None

    def _supervised(self, command: list[str], errors: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, SUPERVISOR, *command],
            stdin=subprocess.PIPE,  # held open: the supervisor stops the command when it closes
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=self.folder,
            env=_environment(self.execution),
            pass_fds=self.held,
        )


class ProgressArtifact:
    """A bar on the page of a task run, drawn from the lines in which a step says how far it is."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._id: UUID | None = None

    def read(self, line: str) -> None:
        """Takes a line of the step's log; other lines change nothing."""
        percent = read_line(line)
        if percent is None:
            return
        if self._id is None:
            created = create_progress_artifact(percent, key=f"progress-{self._step}", description=line)
            assert isinstance(created, UUID)  # a coroutine only where an event loop runs
            self._id = created
        else:
            update_progress_artifact(self._id, percent, description=line)


def _lines(output: IO[str] | None) -> list[str] | map[str]:
    return map(str.rstrip, output) if output is not None else []


def _environment(execution: str) -> dict[str, str]:
    """One execution, hence one MLflow run; the virtual environment's programs first; no telemetry."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"GLUS_EXECUTION": execution, "PATH": path, "DO_NOT_TRACK": "true"}
