"""The flow `glus`: the seven steps as seven tasks. DVC decides what is stale; a task adds order, logs and summaries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State
from pydantic import BaseModel, ConfigDict, Field

from flows.summary import publish_summary
from flows.workspace import prepare_smoke
from glus.execution.ties import end_with_reader
from glus.pipeline.table import STEPS

SECONDS_TO_STOP = 9.0  # more than the supervisor takes
SUPERVISOR = Path(__file__).with_name("supervisor.py")  # found whatever folder the command runs in


class Options(BaseModel):
    """What a run may choose; everything else is in params.yaml."""

    model_config = ConfigDict(extra="forbid")

    workspace: Literal["project", "smoke"] = Field(
        default="project",
        description="project: this folder and its params.yaml. smoke: a copy in .glus/smoke with the preset smoke.",
    )
    force: bool = Field(default=False, description="Run every step, also those that are up to date.")


@flow(name="glus", log_prints=False)
def glus(options: Options = Options()) -> State[None] | None:  # noqa: B008  # a frozen default is what prefect shows as a form
    """Runs the seven steps in order; those that are up to date do nothing. Ends as the pipeline ends."""
    if os.environ.get("PREFECT__FLOW_RUN_ID"):  # set by a worker, which reads what this process writes
        end_with_reader(sys.stdout.fileno(), SECONDS_TO_STOP)
    folder = prepare_smoke(Path.cwd()) if options.workspace == "smoke" else Path.cwd()
    execution = f"prefect:{flow_run.get_id() or os.getpid()}"
    for step in STEPS:
        task_of_step = run_step.with_options(name=step.name, task_run_name=step.name)
        state = task_of_step(step.name, folder, options.force, execution, return_state=True)
        if not state.is_completed():
            return Failed(message=state.message)
    publish_summary(folder)
    return None


@task(cache_policy=NO_CACHE)
def run_step(name: str, folder: Path, force: bool, execution: str) -> State[None]:
    """Brings one step up to date by DVC; a failed state, whose reason is in the log, where it does not succeed."""
    dvc = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s"]
    command = [*dvc, "sources", name, *(["--force"] if force else [])]
    code = supervised(command, folder, execution)
    if code != 0:
        return Failed(message=f"Step {name} ended with exit code {code}; the last lines of its log say why.")
    return Completed()


def supervised(command: list[str], folder: Path, execution: str) -> int:
    """Runs a command that ends with this process, whatever happens to it; its lines go to the run's log."""
    logger = get_run_logger()
    supervisor = subprocess.Popen(
        [sys.executable, SUPERVISOR, *command],
        stdin=subprocess.PIPE,  # held open: the supervisor stops the command when it closes
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=_environment(execution),
    )
    with supervisor:
        assert supervisor.stdout is not None
        for line in supervisor.stdout:
            logger.info(line.rstrip())
    return supervisor.returncode


def _environment(execution: str) -> dict[str, str]:
    """One execution, hence one MLflow run; the virtual environment's programs first; no telemetry."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"GLUS_EXECUTION": execution, "PATH": path, "DO_NOT_TRACK": "true"}
