"""`glus ablate`: a table of the paper, variant after variant and seed after seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glus.errors import InputError
from glus.files import to_json

if TYPE_CHECKING:
    from glus.ablations.tables import Variant
    from glus.ablations.variants import Run


def ablate(
    table: Annotated[str, typer.Argument(help="4, 5, 6, 7, C, figure-4, refinement or switches.")],
    seeds: Annotated[str, typer.Option(help="One run of each variant for each of them, e.g. 0,1,2.")] = "0",
    preset: Annotated[str | None, typer.Option(help="Change this preset instead of the present params.yaml.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this variant; may be given again.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Variants side by side; by default as many as there are devices for.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the variants and what each would compute.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print that list as JSON.")] = False,
) -> None:
    """Run a table of the paper (or our switches): its variants share every step that they do not change."""
    from glus.ablations.together import SECONDS_TO_STOP, places, run_together
    from glus.ablations.variants import make, offer_own
    from glus.ablations.workspace import require_clone
    from glus.config import load_config
    from glus.pipeline.runner import interrupted_by_sigterm

    project = Path.cwd()
    runs = _runs(table, _numbers(seeds), preset, only or [])
    configs = [run.config() for run in runs]  # all are checked before the first begins
    at_once = jobs or places(configs[0].compute.processes)
    offer_own(project, load_config())
    if dry_run or as_json:
        return _show(runs, project, at_once if as_json else None)
    require_clone(project)
    if len(runs) == 1:
        with interrupted_by_sigterm():
            return make(runs[0], project)
    with interrupted_by_sigterm(SECONDS_TO_STOP + 1):
        return run_together([_command(run, preset) for run in runs], at_once)


def _numbers(seeds: str) -> list[int]:
    numbers = [number.strip() for number in seeds.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise InputError(f"--seeds {seeds!r}: expected numbers with commas between them, such as 0,1,2.")
    return list(dict.fromkeys(map(int, numbers)))


def _runs(table: str, seeds: list[int], preset: str | None, only: list[str]) -> list[Run]:
    from glus.ablations.tables import find_table
    from glus.ablations.variants import PARAMETERS, Run
    from glus.config.editing import preset_file

    found, origin = find_table(table), preset_file(preset) if preset else PARAMETERS
    variants = [variant for variant in found.chosen(only) if only or _is_possible(variant, origin)]
    return [Run(found, variant, seed, origin) for seed in seeds for variant in variants]


def _is_possible(variant: Variant, origin: Path) -> bool:
    """Whether the files that a row needs are named; a line says that it is left out."""
    from glus.config import read_parameters

    if variant.needs is None:
        return True
    section, key = variant.needs.split(".")
    if read_parameters(origin)[section][key]:
        return True
    typer.echo(f"{variant.name} is left out: {variant.needs} names none in {origin} (docs/ablations.md)", err=True)
    return False


def _command(run: Run, preset: str | None) -> list[str]:
    """What makes one variant with one seed."""
    chosen = [] if preset is None else ["--preset", preset]
    return ["ablate", run.table.folder, "--only", run.variant.name, "--seeds", str(run.seed), *chosen]


def _show(runs: list[Run], project: Path, at_once: int | None) -> None:
    """Who makes each step: the first that needs it, unless it was made before; as JSON where `at_once` is told."""
    from glus.ablations.sharing import step_keys
    from glus.ablations.variants import made_in
    from glus.pipeline.table import STEPS
    from glus.pipeline.unneeded import is_needed

    made, maker = made_in(project), dict[str, str]()
    rows: list[dict[str, Any]] = []
    for run in runs:
        config, computes = run.config(), list[str]()
        keys = step_keys(config)
        for step in (step for step in STEPS if is_needed(step, config)):
            key = keys[step.name]
            if maker.setdefault(key, "before" if made.has(key) else run.name) == run.name:
                computes.append(step.name)
        facts = {"variant": run.variant.name, "row": run.variant.row, "seed": run.seed, "changes": run.variant.changes}
        rows.append({**facts, "computes": computes, "by_hand": run.by_hand()})
    table = runs[0].table
    if at_once is not None:
        facts = {"table": table.number, "title": table.title, "folder": table.folder, "at_once": at_once}
        typer.echo(to_json({**facts, "runs": rows}))
        return
    typer.echo(f"{table.folder}: {table.title}")
    for run, row in zip(runs, rows, strict=True):
        typer.echo(f"{run.variant.name}, seed {run.seed} ({run.variant.row})")
        typer.echo(f"    computes  {', '.join(row['computes']) or 'nothing'}")
        typer.echo(f"    by hand   {row['by_hand']}")
