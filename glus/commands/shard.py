"""`glus shard`: what the engines `prefect` and `ray` start on other machines, see `glus.execution.shards`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def shard(
    request: Annotated[str, typer.Argument(help="File that the step wrote, relative to the project's folder.")],
    token: Annotated[str, typer.Argument(help="Of the step that asks.")],
) -> None:
    """Work on some videos of a step that runs elsewhere."""
    from glus.execution.shards.request import Shard
    from glus.execution.shards.work import work_on

    work_on(Shard(Path.cwd().as_posix(), request, token))
