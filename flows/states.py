"""States that nobody is left to set: a process that was killed cannot say so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.states import Crashed

UNFINISHED = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
SECONDS_TO_ARRIVE = 15  # the server learns states of tasks from events, some time after the flow has ended


def crash_lost_flow_runs(message: str) -> None:
    """Marks the unfinished flow runs Crashed that no process of this machine works on, and their tasks.

    To be called where no worker is at work: one that has just taken a run has no process yet.
    """
    alive = _flow_runs_of_processes()
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNFINISHED))
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=states)):
            if str(run.id) not in alive:
                client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        _crash_lost_task_runs(client, datetime.now(UTC))


def crash_lost_task_runs() -> None:
    """Marks the unfinished task runs Crashed whose flow run has ended: nothing works on them."""
    with get_client(sync_client=True) as client:
        _crash_lost_task_runs(client, datetime.now(UTC) - timedelta(seconds=SECONDS_TO_ARRIVE))


def _crash_lost_task_runs(client: SyncPrefectClient, latest: datetime) -> None:
    states = TaskRunFilterState(type=TaskRunFilterStateType(any_=UNFINISHED))
    tasks = client.read_task_runs(task_run_filter=TaskRunFilter(state=states))
    ids = FlowRunFilterId(any_=[task.flow_run_id for task in tasks if task.flow_run_id])
    flows = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=ids)) if tasks else []
    ended = {
        run.id: run.state.type
        for run in flows
        if run.state and run.state.type in TERMINAL_STATES and run.state.timestamp <= latest
    }
    for task in tasks:
        if task.flow_run_id in ended:
            message = f"Its flow run ended as {ended[task.flow_run_id].value.capitalize()}"
            client.set_task_run_state(task.id, Crashed(message=message), force=True)


def _flow_runs_of_processes() -> set[str]:
    """Ids of the flow runs that processes of this machine work on; Prefect's worker tells them in the environment."""
    found = set()
    for process in psutil.process_iter():
        try:
            found.add(process.environ().get("PREFECT__FLOW_RUN_ID", ""))
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
