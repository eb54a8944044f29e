"""A shard is a core task of Ray, with a GPU where the cluster has GPUs (`pip install 'glus[ray]'`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from glus.errors import InputError
from glus.execution.shards.request import Shard
from glus.execution.shards.spread import RunState
from glus.execution.ties import PARENT

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}  # no telemetry, no token in the user's home


class RayTasks:
    """Shards as tasks of a cluster.

    Args:
        ray: the module, connected.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._tasks: dict[str, Any] = {}
        self._has_gpus = ray.cluster_resources().get("GPU", 0) > 0

    def submit(self, shard: Shard, devices: int) -> str:
        """Starts a task, once: whether a lost one is asked for again is not for Ray to say."""
        gpus = devices if self._has_gpus else 0
        task = self._ray.remote(_worker(PARENT)).options(num_cpus=1, num_gpus=gpus, max_retries=0)
        reference = task.remote(shard.project, _command(shard))
        self._tasks[reference.hex()] = reference
        return str(reference.hex())

    def states(self, runs: Sequence[str]) -> dict[str, RunState]:
        """See `Cluster`; whether a task is at work or waits for a place Ray does not say, but whether it is lost."""
        references = [self._tasks[run] for run in runs]
        ended, _ = self._ray.wait(references, num_returns=len(references), timeout=0) if references else ([], [])
        return {reference.hex(): RunState("ended", self._end(reference)) for reference in ended}

    def _end(self, reference: Any) -> str:
        try:
            return f"exit code {self._ray.get(reference)}"
        except self._ray.exceptions.RayError as error:
            return f"{type(error).__name__}: {error}"

    def cancel(self, runs: Sequence[str]) -> None:
        """Kills the tasks' processes, with which the shards end."""
        for run in runs:
            self._ray.cancel(self._tasks[run], force=True)


@contextmanager
def open_cluster() -> Iterator[RayTasks]:
    """The cluster that `RAY_ADDRESS` names, else one of this machine alone, which ends with this process.

    Raises:
        InputError: ray is not installed, or the cluster is not there.
    """
    os.environ |= QUIET
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "compute.engine is ray, which is not installed; install it (pip install 'glus[ray]'), or set"
            " compute.engine to local."
        ) from error
    try:
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    except ConnectionError as error:
        raise InputError(
            f"No Ray cluster answers at RAY_ADDRESS, {os.environ.get('RAY_ADDRESS')} ({error}). Start one there"
            " (`ray start --head`), or unset RAY_ADDRESS for one of this machine alone."
        ) from error
    try:
        yield RayTasks(ray)
    finally:
        ray.shutdown()


def _command(shard: Shard) -> list[str]:
    return [sys.executable, "-m", "glus", "shard", shard.request, shard.token]


def _worker(parent: str) -> Any:
    """The task, without a name of ours: its code travels to the machines, which run what lies in the project.

    A process of its own, as a task that calls `sys.exit` would be run again, and CUDA cannot be started twice. One
    that Ray has given no GPU sees none: Ray leaves it those of the step.
    """

    def run(project: str, command: list[str]) -> int:
        import ray

        gpus = ",".join(map(str, ray.get_gpu_ids()))
        environment = os.environ | {parent: str(os.getpid()), "CUDA_VISIBLE_DEVICES": gpus}
        return subprocess.run(command, cwd=project, env=environment, stdin=subprocess.DEVNULL).returncode

    return run
