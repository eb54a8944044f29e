"""`glus stage|train|pseudolabel|selector|keyframes|propagate|evaluate`: one step from `params.yaml`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from glus.execution.devices import require_device
from glus.execution.ties import tie_to_parent
from glus.files import to_json
from glus.paths import RUNS
from glus.pipeline.table import STEPS, Step

Fresh = Annotated[bool, typer.Option("--fresh/--resume", help="Forget, or use, what an interrupted run has finished.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check parameters and inputs, say what would be done.")]
Json = Annotated[bool, typer.Option("--json", help="Print the record of the run (or the plan) as JSON.")]
KeepGoing = Annotated[
    bool,
    typer.Option("--keep-going", help="Look at every split and write all faults to reports/staging_errors.parquet."),
]


def register(app: typer.Typer) -> None:
    """Adds one command per step."""
    for step in STEPS:
        command = _stage_command if step.name == "stage" else _command
        app.command(step.name, help=f"Run one step: {step.summary}.")(command(step))


def _command(step: Step) -> Callable[..., None]:
    def run(fresh: Fresh = False, dry_run: DryRun = False, as_json: Json = False) -> None:
        _run(step, fresh, dry_run, as_json)

    return run


def _stage_command(step: Step) -> Callable[..., None]:
    def run(
        fresh: Fresh = False, dry_run: DryRun = False, as_json: Json = False, keep_going: KeepGoing = False
    ) -> None:
        _run(step, fresh, dry_run, as_json, keep_going=keep_going)

    return run


def _run(step: Step, fresh: bool, dry_run: bool, as_json: bool, **options: bool) -> None:
    from glus.config import load_config

    config = load_config()
    _set_threads(config.compute.threads)
    from glus.pipeline.runner import needs_device, run_step

    if needs_device(step, config):
        require_device(config.compute)
    if dry_run:
        return _show_plan(step, as_json)
    tie_to_parent()  # as `python -m glus` has done; not so who calls `glus.cli.main`
    from glus.launch import find_rank, launch
    from glus.pipeline.project import link_external
    from glus.pipeline.runner import run_beside

    compute = config.compute
    rank = find_rank(compute, os.environ) if step.trains else 0
    if rank is None and compute.processes * compute.machines > 1:
        chosen = {"--fresh": fresh, "--json": as_json, "--debug": "--debug" in sys.argv}
        return launch([step.name, *(option for option, wanted in chosen.items() if wanted)], compute)
    if rank:
        return run_beside(step.name, config)
    link_external(config)
    run_step(step.name, config, fresh=fresh, **options)
    if as_json:
        typer.echo((RUNS / f"{step.name}.json").read_text(encoding="utf-8"), nl=False)
    return None


def _set_threads(threads: int) -> None:
    """Read by OpenMP when numpy or torch is first imported; waiting threads that spin slow a shared machine down."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _show_plan(step: Step, as_json: bool) -> None:
    from glus.config import load_config
    from glus.pipeline.artifacts import resolve
    from glus.pipeline.finished import is_finished
    from glus.pipeline.runner import plan_step

    config = load_config()
    plan = plan_step(step.name, config)
    facts = {
        "step": step.name,
        "parameters": list(step.parameters),
        "inputs": plan.inputs,
        "outputs": resolve(step.outputs, config),
        "resumes": plan.resumes,
        "identity": plan.identity,
        "finished": is_finished(step, config, plan.identity),
    }
    if as_json:
        typer.echo(to_json(facts))
        return
    typer.echo(f"{step.name}: {step.summary}")
    typer.echo(f"parameters  {', '.join(step.parameters)}")
    for path, digest in plan.inputs.items():
        typer.echo(f"reads       {path} ({digest[:12]})")
    for path in facts["outputs"]:  # type: ignore[attr-defined]
        typer.echo(f"writes      {path}")
    resumes = "It would resume an interrupted run." if plan.resumes else "It would start from the beginning."
    typer.echo("Its result lies there, made from all this." if facts["finished"] else resumes)
