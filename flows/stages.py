"""A step of the pipeline as DVC knows it: up to date, done but not recorded, made by another agent, or to be run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from httpx import HTTPStatusError
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.commands import Place, ProgressArtifact
from glus.pipeline.dvc_lock import mend_lock
from glus.pipeline.table import STEPS

SNAPSHOT, PUSH = (  # found whatever folder they run in
    [sys.executable, "-P", str(Path(__file__).with_name(f"dvc_{name}.py"))] for name in ("snapshot", "push")
)
DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]
SECONDS_OF_LEASE = 60.0  # a claim comes free so long after its holder's machine was lost


@dataclass(frozen=True)
class Snapshot:
    """What DVC knew when the flow began.

    Attributes:
        stale: steps that are not up to date.
        shared: there is a remote, so other agents may make, or have made, what is needed here.
    """

    stale: frozenset[str]
    shared: bool


def take_snapshot(place: Place) -> Snapshot:
    """Asks DVC. Where it has no answer everything counts as stale, and the first step's own command says why."""
    mend_lock(place.folder)
    answer = place.ask(SNAPSHOT)
    if answer is None:
        return Snapshot(frozenset(step.name for step in STEPS), shared=False)
    lines = answer.splitlines()
    status = next(number for number, line in enumerate(lines) if line.startswith("{"))
    return Snapshot(frozenset(json.loads(lines[status])), shared=len(lines) > status + 1)


class StepError(Exception):
    """A step could not be brought up to date; the message says why."""


def update_step(name: str, place: Place, *, force: bool, shared: bool) -> None:
    """Brings one step up to date.

    What was computed but not recorded is recorded. What another agent has pushed is fetched, what one is computing now
    is waited for, and what is computed here is pushed.

    Raises:
        StepError: it failed, or could not be pushed.
    """
    mend_lock(place.folder)
    plan = _plan(name, place)
    if plan.get("finished") and not force:
        place.run([*DVC, "commit", "--force", name])
    with _claimed(f"glus-{name}-{plan['identity']}") if shared and plan else nullcontext():
        options = [*(["--force"] if force else []), *(["--pull"] if shared else [])]
        code = place.run([*DVC, "repro", *options, "-s", "sources", name], ProgressArtifact(name))
        if code != 0:
            raise StepError(f"Step {name} ended with exit code {code}; the last lines of its log say why.")
        if shared:
            push(place)


def push(place: Place) -> None:
    """Sends what is here and not there to the DVC remote, where other agents fetch it.

    Raises:
        StepError: the remote does not take it.
    """
    if place.run(PUSH) != 0:
        raise StepError(
            "What was made is recorded here, but the DVC remote did not take it: other agents would compute it again."
            " The log says why; run the deployment again once the remote answers."
        )


def _plan(name: str, place: Place) -> dict[str, Any]:
    """What the step would do; nothing where its inputs are not in order, which it then says itself."""
    answer = place.ask([sys.executable, "-m", "glus", name, "--dry-run", "--json"])
    return json.loads(answer) if answer is not None else {}


@contextmanager
def _claimed(name: str) -> Iterator[None]:
    """Of the agents that would compute the same, one does; the others wait, and find it pushed.

    The claim is a concurrency limit of the Prefect server. It goes when the work has succeeded, so that they do not
    pile up there; whoever then no longer finds it goes on without, as there is nothing left to compute.
    """
    with get_client(sync_client=True) as client:
        try:
            client.upsert_global_concurrency_limit_by_name(name, 1)
        except (ObjectAlreadyExists, HTTPStatusError):  # another agent was a moment faster (SQLite: status 500)
            client.upsert_global_concurrency_limit_by_name(name, 1)
        with concurrency(name, lease_duration=SECONDS_OF_LEASE, raise_on_lease_renewal_failure=False):
            yield
            with suppress(ObjectNotFound):
                client.delete_global_concurrency_limit_by_name(name)
