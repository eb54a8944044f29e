"""The flow behind `glus/ablations`: a table of the paper, one task for each variant and seed, as `glus ablate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed, State

from flows.commands import Place, ProgressArtifact
from flows.pipeline import end_with_worker, execution_name

GLUS = [sys.executable, "-m", "glus", "ablate"]


@flow(name="glus", log_prints=False)
def ablations(
    table: int | str, seeds: tuple[int, ...] = (0,), preset: str | None = None, only: tuple[str, ...] = ()
) -> State[None] | None:
    """Runs a table: as many variants at once as there are devices for; killed and run again, it goes on.

    Args:
        table: 4, 5, 6, 7, C, figure-4, refinement or switches.
        seeds: one run of each variant for each of them.
        preset: is changed instead of this folder's params.yaml.
        only: names of variants; all where none is named.
    """
    end_with_worker()
    place = Place(Path.cwd(), execution_name())
    chosen = [str(table), "--seeds", ",".join(map(str, seeds)), *(f"--only={name}" for name in only)]
    chosen += [] if preset is None else ["--preset", preset]
    answer = place.ask([*GLUS, *chosen, "--json"])
    if answer is None:
        place.run([*GLUS, *chosen, "--dry-run"])  # once more, for its words
        return Failed(message=f"Table {table} cannot be run as asked; the last lines of its log say why.")
    plan = json.loads(answer)
    options = [] if preset is None else ["--preset", preset]
    runs, at_once = plan["runs"], plan["at_once"]
    for start in range(0, len(runs), at_once):
        begun = [_begin(run, plan["folder"], options, place) for run in runs[start : start + at_once]]
        wait(begun)
        if failed := [each.state for each in begun if not each.state.is_completed()]:
            return Failed(message=failed[0].message)
    return None


def _begin(run: dict[str, Any], folder: str, options: list[str], place: Place) -> PrefectFuture[State[None]]:
    name, seed = run["variant"], str(run["seed"])
    command = [*GLUS, folder, "--only", name, "--seeds", seed, *options]
    return make_variant.with_options(task_run_name=f"{name}, seed {seed}").submit(command, place)


@task(cache_policy=NO_CACHE)
def make_variant(command: list[str], place: Place) -> State[None]:
    """Brings one variant with one seed up to date; a failed state says that it could not."""
    code = place.run(command, ProgressArtifact("ablation"))
    if code != 0:
        return Failed(message=f"`glus {' '.join(command[3:])}` ended with exit code {code}; its log says why.")
    return Completed()
