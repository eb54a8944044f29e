"""The flow behind `glus/shard`: some videos of a step that runs on another machine (compute.engine: prefect)."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect import flow
from prefect.states import Failed, State
from pydantic import BaseModel, ConfigDict, Field

from flows.commands import Place
from flows.pipeline import end_with_worker


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
    if not (folder / shard.request).is_file():
        return Failed(message=f"{folder / shard.request} is not on this machine; see docs/engines.md.")
    command = [sys.executable, "-m", "glus", "shard", shard.request, shard.token]
    code = Place(folder, execution="").run(command)
    return Failed(message=f"The shard ended with exit code {code}; its log says why.") if code != 0 else None
