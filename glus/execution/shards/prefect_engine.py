"""A shard is a flow run of the deployment `glus/shard`, on any worker of its pool (flows/shard.py)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling, State

from glus.errors import GlusError, InputError
from glus.execution.shards.request import Shard
from glus.execution.shards.spread import RunState

logger = logging.getLogger(__name__)

DEPLOYMENT = "glus/shard"
RUNS_AT_ONCE = 200  # that the server returns
CALLS_AT_ONCE = 16


class FlowRuns:
    """Shards as flow runs.

    Args:
        client: of the server.
        deployment: id of `glus/shard`.
    """

    def __init__(self, client: SyncPrefectClient, deployment: UUID) -> None:
        self._client, self._deployment = client, deployment
        self._answers = True

    def submit(self, shard: Shard, devices: int) -> str:
        """Asks for a run; the shard itself waits for its devices where it runs.

        Once, by the name of its request: where a busy server answers late, the client asks again.
        """
        run = self._client.create_flow_run_from_deployment(
            self._deployment, parameters={"shard": asdict(shard)}, idempotency_key=shard.request
        )
        return str(run.id)

    def states(self, runs: Sequence[str]) -> dict[str, RunState]:
        """See `Cluster`; nothing while the server is away, which stops no shard."""
        found: dict[str, RunState] = {}
        try:
            for start in range(0, len(runs), RUNS_AT_ONCE):
                asked = [UUID(run) for run in runs[start : start + RUNS_AT_ONCE]]
                chosen = FlowRunFilter(id=FlowRunFilterId(any_=asked))
                there = {str(run.id): run.state for run in self._client.read_flow_runs(flow_run_filter=chosen)}
                found |= {str(run): _run_state(there.get(str(run))) for run in asked}
        except HTTPError as error:
            if self._answers:
                logger.warning("%s", f"Prefect's server does not answer ({error}); shards at work go on.")
            self._answers = False
            return {}
        self._answers = True
        return found

    def cancel(self, runs: Sequence[str]) -> None:
        """Has the server end runs, many at a time; those that it cannot tell miss the step's signs of life."""

        def end(run: str) -> None:
            with suppress(HTTPError, ObjectNotFound):
                self._client.set_flow_run_state(UUID(run), Cancelling(message="The step that asked for it has ended"))

        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            list(pool.map(end, runs))


@contextmanager
def open_cluster() -> Iterator[FlowRuns]:
    """The server that `PREFECT_API_URL` names (in the clone, pyproject.toml does).

    Raises:
        InputError: none is named, or it has no deployment for shards.
        GlusError: it does not answer.
    """
    url = PREFECT_API_URL.value()
    if not url:
        raise InputError(
            "compute.engine is prefect, but no Prefect server is named; set PREFECT_API_URL, such as"
            " http://127.0.0.1:4200/api, or set compute.engine to local."
        )
    with get_client(sync_client=True) as client:
        try:
            yield FlowRuns(client, client.read_deployment_by_name(DEPLOYMENT).id)
        except ObjectNotFound as error:
            raise InputError(
                f"compute.engine is prefect, but the server at {url} has no deployment {DEPLOYMENT}; run"
                " `prefect deploy --all` in the clone (`make serve` does), or set compute.engine to local."
            ) from error
        except HTTPError as error:
            raise GlusError(
                f"Prefect's server at {url} does not answer ({error}). Start it and start again; what was finished is"
                " kept."
            ) from error


def _run_state(state: State | None) -> RunState:
    if state is None:
        return RunState("ended", "its run is not known to the server")
    if state.type in TERMINAL_STATES:
        return RunState("ended", f"{state.name}: {state.message}" if state.message else state.name or "")
    return RunState("waiting" if state.type in (StateType.SCHEDULED, StateType.PAUSED) else "running")
