"""Who makes the pieces of a step: processes of this machine, Prefect's workers, or a Ray cluster. All make the same."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import partial

from glus.config import ComputeConfig
from glus.execution.pieces import PieceMaker, StepPieces
from glus.execution.processes import map_in_processes


def make_missing(pieces: StepPieces, compute: ComputeConfig) -> Iterator[int]:
    """Makes the pieces that are not there yet; yields the number of each, in whatever order.

    Raises:
        KilledError: a process that made them was killed, again and again where others could take over.
        GlusError: as the pieces' function raises it, or the engine is not there.
    """
    missing = pieces.missing()
    if not missing:
        return
    if compute.engine == "local":
        yield from map_in_processes(partial(PieceMaker, pieces), missing, min(compute.processes, len(missing)))
        return
    # by name: no step's result depends on what is only a way to spread its work, so DVC need not watch it
    spread = importlib.import_module("glus.execution.shards.spread")
    engine = importlib.import_module(f"glus.execution.shards.{compute.engine}_engine")
    yield from spread.spread(pieces, compute.shards, engine.open_cluster)
