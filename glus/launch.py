"""Steps that train in several processes: torch's elastic agent starts them, unless torchrun or SLURM has done so.

Each process runs the same command, `glus train`. The first (rank 0) runs the step; the others do its share of the
training. Whoever of them fails ends all, and the agent says why, in one paragraph, with that one's exit code.
"""

from __future__ import annotations

import atexit
import logging
import os
import runpy
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from glus.errors import ConfigError, GlusError, KilledError
from glus.execution.device_locks import held_devices
from glus.execution.endings import TOLD_ELSEWHERE, Cause, ExitReport
from glus.execution.ties import PARENT, SECONDS_TO_STOP
from glus.pipeline.runner import Interrupted, interrupted_by_sigterm

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import ProcessFailure

    from glus.config import ComputeConfig

FIRST_PORT, NUM_PORTS = 20_000, 10_000  # where SLURM's tasks meet: of no service, and another one for each job


def find_rank(compute: ComputeConfig, environment: MutableMapping[str, str]) -> int | None:
    """This process among those that somebody has started to train together; None where nobody has.

    Where SLURM has (`srun`), the environment gets the variables that torchrun sets.

    Raises:
        ConfigError: SLURM has, and did not say where its tasks meet.
    """
    if "RANK" in environment:
        return int(environment["RANK"])
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or "1")
    if "SLURM_PROCID" not in environment or tasks == 1 or compute.machines > 1:
        return None
    if "MASTER_ADDR" not in environment:
        raise ConfigError(
            f"SLURM has started {tasks} tasks, but MASTER_ADDR is not set: export the name of the first node before"
            " `srun` (docs/scaling.md), or start a single task."
        )
    port = FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % NUM_PORTS
    environment.setdefault("MASTER_PORT", str(port))
    environment["WORLD_SIZE"], environment["RANK"] = str(tasks), environment["SLURM_PROCID"]
    environment["LOCAL_RANK"] = environment.get("SLURM_LOCALID", "0")
    return int(environment["RANK"])


def launch(arguments: Sequence[str], compute: ComputeConfig) -> None:
    """Runs `glus ARGUMENTS` in each process of this machine, until all have ended.

    Raises:
        GlusError: one of them failed: what it said, and its exit code.
        KilledError: one of them was killed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; all are ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _let_only_us_speak()
    told = {PARENT: str(os.getpid()), TOLD_ELSEWHERE: "1"}
    if compute.machines == 1 and sys.platform == "linux":
        told["GLOO_SOCKET_IFNAME"] = "lo"  # all processes are here, whatever the host is called
    folders = TemporaryDirectory(prefix="glus-launch-")
    needed = compute.device != "cpu"
    devices: AbstractContextManager[object] = held_devices(compute.processes, arguments[0]) if needed else nullcontext()
    with folders as folder, _telling(told), interrupted_by_sigterm(SECONDS_TO_STOP + 2), devices:
        config = LaunchConfig(
            min_nodes=compute.machines,
            max_nodes=compute.machines,
            nproc_per_node=compute.processes,
            run_id="glus",
            rdzv_backend="c10d",
            rdzv_endpoint=compute.rendezvous or "localhost:0",
            local_addr="localhost" if compute.machines == 1 else None,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            signals_to_handle="SIGHUP",  # SIGTERM and Ctrl-C are handled here
            shutdown_timeout=int(SECONDS_TO_STOP),
        )
        try:
            elastic_launch(config, _run_glus)(*arguments)
        except ChildFailedError as error:
            raise explained(error.failures.values(), Path(folder).rglob("error.json")) from None
        except RendezvousError as error:
            raise GlusError(
                f"The {compute.machines} machines did not meet at {compute.rendezvous} ({error}). Start the same"
                " command on each of them, with that address reachable from all."
            ) from error


def _run_glus(*arguments: str) -> None:
    """`python -m glus ARGUMENTS`, in a process that the agent has started: it is tied to this one while it imports."""
    sys.argv[1:] = arguments
    runpy.run_module("glus", run_name="__main__", alter_sys=True)
    atexit.register(os._exit, 0)  # see `glus.execution.ties.leave`; the agent waits until all have come this far


@contextmanager
def _telling(variables: Mapping[str, str]) -> Iterator[None]:
    """What processes that are started meanwhile find in their environment."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)


def _let_only_us_speak() -> None:
    """The agent, and what it starts processes with, report each failure in words of their own."""
    for name in ("torch.distributed.elastic", "torch.multiprocessing.spawn"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.addHandler(logging.NullHandler())


def explained(failures: Iterable[ProcessFailure], reports: Iterable[Path]) -> BaseException:
    """What to raise for processes that ended badly: what it began with; the others were ended for that.

    Args:
        failures: those that the agent saw ending: the first, and others that ended just then.
        reports: what any of the processes has told of its end.
    """
    seen = [ExitReport.read(failure.exitcode, failure.error_file) for failure in failures]
    first = min([*seen, *(ExitReport.read(1, str(path)) for path in reports)])
    if first.cause is Cause.KILLED:
        return KilledError(
            f"1 of the training processes was killed by {signal.Signals(-first.code).name}, perhaps because memory ran"
            " out; the others were ended. Start again to go on from the last checkpoint."
        )
    if first.cause is Cause.INTERRUPTED:
        return Interrupted()
    error = GlusError(first.message or f"1 of the training processes ended with exit code {first.code} (see above).")
    error.exit_code = first.code
    return error
