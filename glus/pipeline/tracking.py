"""MLflow, and its only import: every pipeline execution is one run with parameters, curves, metrics and pictures.

A step talks to a process of its own, the uploader, through a pipe: importing MLflow, a slow disk and an absent server
cost the step nothing, and when a step is killed the uploader sees the pipe close and marks the run.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from glus.pipeline.mlflow_uploader import STATUS, process_key

logger = logging.getLogger(__name__)

SECONDS_TO_FINISH = 20.0
SECONDS_IF_INTERRUPTED = 1.0


@dataclass(frozen=True)
class RunDescription:
    """What a run is begun with.

    Attributes:
        execution: names the pipeline execution that this process is part of; equal for all of its steps.
        run_id: an existing MLflow run to continue, or None.
        parameters: `params.yaml`, flattened.
        resumes: the pipeline execution that an interrupted run of the step was part of, or None; its run is continued
            where this execution has none yet.
        datasets: what the step reads, by path, with DVC's hash.
        started: time in seconds since 1970.
    """

    experiment: str
    name: str
    execution: str
    run_id: str | None
    parameters: dict[str, str]
    tags: dict[str, str]
    resumes: str | None = None
    datasets: tuple[dict[str, str], ...] = ()
    started: float = field(default_factory=time.time)


class Tracker:
    """Sends what a step measures to MLflow; without an uploader it does nothing."""

    def __init__(self, uploader: subprocess.Popen[str] | None = None) -> None:
        self._uploader = uploader

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Logs values under names such as `train/loss`; charts are grouped by the part before the slash."""
        values = {metric_name(name): float(value) for name, value in metrics.items()}
        self._send(kind="metrics", values=values, step=step, time=time.time())

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Uploads a small file, as it is now."""
        self._send(kind="artifact", path=str(path.resolve()), folder=folder)

    def finish(self, outcome: str) -> dict[str, str] | None:
        """Ends the run as `done`, `failed` or `interrupted`; names the MLflow run, or None if there is none."""
        if self._uploader is None:
            return None
        self._send(kind="finish", status=STATUS[outcome], time=time.time())
        uploader, self._uploader = self._uploader, None
        if uploader is None:
            return None
        try:
            patience = SECONDS_IF_INTERRUPTED if outcome == "interrupted" else SECONDS_TO_FINISH
            answer, _ = uploader.communicate(timeout=patience)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            if outcome == "interrupted":
                return None  # the uploader finishes by itself
            logger.warning("MLflow did not answer in time; what is missing there is sent by the next step.")
            uploader.kill()
            uploader.wait()
            return None
        lines = answer.splitlines()
        return json.loads(lines[0]) if lines else None

    def _send(self, **message: Any) -> None:
        if self._uploader is None or self._uploader.stdin is None:
            return
        try:
            self._uploader.stdin.write(json.dumps(message) + "\n")
            self._uploader.stdin.flush()
        except BrokenPipeError:
            logger.warning("The process that writes to MLflow has ended; this step is no longer tracked.")
            self._uploader = None


def start_tracking(description: RunDescription) -> Tracker:
    """Starts the uploader of one step."""
    uploader = subprocess.Popen(
        [sys.executable, "-m", "glus.pipeline.mlflow_uploader", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # what kills the step's group is told to MLflow; the closed pipe ends this process
    )
    tracker = Tracker(uploader)
    tracker._send(kind="begin", process=process_key(psutil.Process()), **asdict(description))
    return tracker


def execution_key() -> str:
    """Names the pipeline execution of this process, though each step is a process of its own.

    `GLUS_EXECUTION` where a flow sets it, else the `dvc` above this process, else this process alone.
    """
    if given := os.environ.get("GLUS_EXECUTION"):
        return given
    process = psutil.Process()
    for ancestor in process.parents():
        if any(Path(word).name == "dvc" for word in _command(ancestor)[:3]):
            process = ancestor
            break
    return process_key(process)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def metric_name(name: str) -> str:
    """A name that MLflow accepts: letters, digits, `_ - . : /` and space."""
    return re.sub(r"[^\w\-.:/ ]", "_", name.replace("&", "").replace("%", "percent"), flags=re.ASCII)


def flatten(tree: Any, prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """The leaves of nested mappings by joined keys; lists are leaves."""
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flatten(value, f"{prefix}{separator}{key}" if prefix else str(key), separator)
    return leaves


def numbers(tree: Any, prefix: str) -> dict[str, float]:
    """The numeric leaves of a metrics file, named `prefix/key/key`."""
    return {
        name: float(value)
        for name, value in flatten(tree, prefix, "/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
