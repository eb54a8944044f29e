"""The flow behind `glus/shard`: some videos of a step that runs on another machine (compute.engine: prefect)."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow
from prefect.states import Cancelled, Failed, State
from pydantic import BaseModel, ConfigDict, Field

from flows.commands import Place, ProgressArtifact
from flows.pipeline import end_with_worker, execution_name


class Request(BaseModel):
    """What a step asks for; `glus.execution.shards` writes it."""

    model_config = ConfigDict(extra="forbid")

    project: str = Field(description="The project's folder, which the machines share under the same path.")
    request: str = Field(description="The file that says which videos, relative to it.")
    token: str = Field(pattern="^[0-9a-f]+$", description="Of the step; the file holds it too.")


@flow(name="glus", log_prints=False)
def shard(shard: Request) -> State[None] | None:
    """Works on the videos in a process of its own; the step itself sees what was done, and asks again where need be."""
    end_with_worker()
    folder = Path(shard.project)
    asked, command = folder / shard.request, [sys.executable, "-m", "glus", "shard", shard.request, shard.token]
    code = Place(folder, execution_name()).run(command, ProgressArtifact("shard")) if asked.is_file() else 0
    if not asked.is_file():
        why = f"{asked} is not there: the step has ended, or this machine has another folder there (docs/engines.md)."
        return Cancelled(message=why)
    return Failed(message=f"The shard ended with exit code {code}; its log says why.") if code != 0 else None
