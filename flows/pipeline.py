"""The flow `glus`: the seven steps as seven tasks. DVC decides what is stale; a task adds order, logs and summaries."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, State
from pydantic import BaseModel, ConfigDict, Field

from flows.commands import Place
from flows.stages import StepError, push, take_snapshot, update_step
from flows.summary import publish_summary
from flows.workspace import workplace
from glus.execution.ties import end_with_reader
from glus.pipeline.table import STEPS

SECONDS_TO_STOP = 8.5  # more than the supervisor takes

StepName = Literal["stage", "train", "pseudolabel", "selector", "keyframes", "propagate", "evaluate"]


class Options(BaseModel):
    """What a run may choose; everything else is in params.yaml."""

    model_config = ConfigDict(extra="forbid")

    workspace: Literal["project", "smoke"] = Field(
        default="project",
        description="project: this folder and its params.yaml. smoke: a copy in .glus/smoke with the preset smoke.",
    )
    until: StepName = Field(
        default="evaluate", description="The last step. Those before it run where they are not up to date."
    )
    force: bool = Field(default=False, description="Run every step, also those that are up to date.")


@flow(name="glus", log_prints=False)
def glus(options: Options = Options()) -> State[None] | None:  # noqa: B008  # a frozen default is what prefect shows as a form
    """Runs the steps in order; those that are up to date do nothing. Ends as the pipeline ends."""
    end_with_worker()
    with workplace(Path.cwd(), execution_name(), smoke=options.workspace == "smoke") as place:
        known = take_snapshot(place)
        skipped = frozenset[str]() if options.force else _up_to_date(known.stale)
        for step in STEPS:
            task_of_step = run_step.with_options(name=step.name, task_run_name=step.name)
            work = None if step.name in skipped else place
            state = task_of_step(step.name, work, options.force, known.shared, return_state=True)
            if not state.is_completed():
                return Failed(message=state.message)
            if step.name == options.until:
                break
        try:
            if known.shared and step.name in skipped:  # an earlier run may have failed to
                push(place)
        except StepError as error:
            return Failed(message=str(error))
        if options.until == STEPS[-1].name:
            publish_summary(place.folder)
    return None


def end_with_worker() -> None:
    """Where a worker reads what this process writes, it ends with the worker."""
    if os.environ.get("PREFECT__FLOW_RUN_ID"):
        end_with_reader(sys.stdout.fileno(), SECONDS_TO_STOP)


def execution_name() -> str:
    """Names the flow run for MLflow."""
    return f"prefect:{flow_run.get_id() or os.getpid()}"


def _up_to_date(stale: frozenset[str]) -> frozenset[str]:
    """The steps before the first stale one: what comes after it may have other inputs in a moment."""
    names = [step.name for step in STEPS]
    return frozenset(names[: next((place for place, name in enumerate(names) if name in stale), len(names))])


@task(cache_policy=NO_CACHE)
def run_step(name: str, place: Place | None, force: bool, shared: bool) -> State[None]:
    """Brings one step up to date where it is not (`place` is None where it is); a failed state says what went wrong."""
    if place is None:
        return Completed(message="Up to date")
    try:
        update_step(name, place, force=force, shared=shared)
    except StepError as error:
        return Failed(message=str(error))
    return Completed()
