"""`glus plan`: which steps `dvc repro` would run, and what they need: memory, hours, disk, weights and data."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glus.commands.output import print_table
from glus.errors import GlusError, InputError
from glus.execution.devices import require_device
from glus.execution.ties import tied
from glus.files import to_json
from glus.pipeline.sources import SOURCES, update_sources
from glus.pipeline.table import STEPS

if TYPE_CHECKING:
    from glus.config import Config
    from glus.planning.machine import Room
    from glus.planning.works import Work

GIB = 1 << 30


def plan(
    preset: Annotated[
        str | None, typer.Option(help="What this preset would need, instead of the present params.yaml.")
    ] = None,
    samples_per_second: Annotated[
        float | None, typer.Option(min=1e-6, help="Rate of training, of all devices; else that of the last training.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show what would run and why, and what it needs: memory, hours, disk, what is missing. Loads no weights."""
    from glus.config import load_config
    from glus.config.editing import preset_file

    if samples_per_second is not None and not math.isfinite(samples_per_second):
        raise InputError(f"--samples-per-second is {samples_per_second}, expected clips a second, such as 0.9.")
    config = load_config(preset_file(preset)) if preset else load_config()
    if preset is None and config.compute.engine == "local":
        require_device(config.compute)
    rows, failure = ([], None) if preset else _steps_or_failure(config)
    if not as_json:
        _print_steps(rows or [])
    needs = _needs(config, samples_per_second)
    if as_json:
        typer.echo(to_json({"steps": rows, "needs": needs}))
    else:
        _print_needs(config, needs)
    if failure:
        raise failure


def _steps_or_failure(config: Config) -> tuple[list[dict[str, Any]] | None, GlusError | None]:
    """What would run is not known while steps are at work, or without DVC; what a run needs is, all the same."""
    try:
        return _steps(config), None
    except GlusError as failure:
        return None, failure


def _steps(config: Config) -> list[dict[str, Any]]:
    update_sources(config)
    changes = _changes()
    rows = [{"step": step.name, "state": "", "why": changes.get(step.name, [])} for step in STEPS]
    stale = False
    for row in rows:
        row["state"] = "changed" if row["why"] else "after a changed step" if stale else "up to date"
        stale = stale or bool(row["why"])
    return rows


def _print_steps(rows: list[dict[str, Any]]) -> None:
    if rows:
        print_table(
            ("step", "", "why"), [[(row["step"], row["state"], "; ".join(row["why"])) for row in rows]], texts=3
        )
        typer.echo()
    if any(row["why"] for row in rows):
        typer.echo(
            "`dvc repro` would run the changed steps, and those after them unless their inputs come out equal.\n"
        )
    elif rows:
        typer.echo("Everything is up to date: `dvc repro` would do nothing.\n")


def _needs(config: Config, samples_per_second: float | None) -> dict[str, Any]:
    from glus.planning import needs
    from glus.planning.machine import room

    works, where, parameters = needs.measure_works(config), room(config.compute), needs.count_parameters(config)
    rate = samples_per_second or needs.measured_rate()
    return {
        "parameters": {"total": parameters.total, "trained": parameters.trained},
        "memory": {work.name: _as_counted(work, where) for work in works},
        "room": {"name": where.name, "bytes": where.size, "shared": where.shared},
        "does_not_fit": {
            work.name: [
                {"change": text, "bytes": then.total + where.libraries}
                for text, then in needs.remedies(config, work, where)
            ]
            for work in works
            if not needs.fits(work, config, where)
        },
        "samples": needs.num_samples(config),
        "samples_per_second": rate,
        "disk": needs.disk_bytes(config),
        "missing": needs.missing(config),
    }


def _as_counted(work: Work, where: Room) -> dict[str, int]:
    """Bytes by part as the system counts them."""
    replaced = work.replaced if where.shared else 0  # a card holds nothing that is not used
    return work.parts | {"weights": work.parts["weights"] + replaced, "libraries": where.libraries}


def _print_needs(config: Config, needs: dict[str, Any]) -> None:
    parameters = needs["parameters"]
    trained = ", ".join(f"{part} {count / 1e6:.1f}" for part, count in parameters["trained"].items())
    num_trained = sum(parameters["trained"].values())
    typer.echo(
        f"parameters: {parameters['total'] / 1e6:,.1f} million, {num_trained / 1e6:,.1f} of them trained ({trained})\n"
    )
    parts = ("weights", "gradients", "optimiser", "activations", "libraries")
    rows = [
        (name, *(f"{size / GIB:.2f}" for size in (*(sizes.get(part, 0) for part in parts), sum(sizes.values()))))
        for name, sizes in needs["memory"].items()
    ]
    print_table(("GiB of one process", *parts, "together"), [rows])
    for line in (*_room_as_text(config, needs), "", *_training_as_text(config, needs)):
        typer.echo(line)
    disk = ", ".join(f"{name} {size / GIB:.2f} GiB" for name, size in needs["disk"].items())
    typer.echo(f"disk: {disk}, beside predictions and reports")
    for line in needs["missing"]:
        typer.echo(f"missing: {line}")


def _room_as_text(config: Config, needs: dict[str, Any]) -> Iterator[str]:
    room, processes = needs["room"], config.compute.processes
    beside = f", where {processes} processes run side by side" if room["shared"] and processes > 1 else ""
    yield f"{room['name']} has {room['bytes'] / GIB:.1f} GiB{beside}."
    for name, changes in needs["does_not_fit"].items():
        helps = "; ".join(f"{change['change']} ({change['bytes'] / GIB:.1f} GiB)" for change in changes)
        yield f"{name} does not fit. What helps, one after the other: {helps or 'a larger machine'}."


def _training_as_text(config: Config, needs: dict[str, Any]) -> Iterator[str]:
    clip, processes = config.train.clip, config.compute.processes
    batch = clip.samples * clip.accumulation
    yield (
        f"training: {clip.steps:,} steps of {batch} clips: {clip.samples} at once, {clip.accumulation} batches a step,"
        f" {clip.accumulation // processes} in each of {processes} processes"
    )
    choices = [samples for samples in range(1, 9) if batch % (samples * processes) == 0 and samples != clip.samples]
    if choices:
        pairs = ", ".join(f"{samples} with {batch // samples}" for samples in choices)
        yield f"the same batch of {batch} by other train.clip.samples and train.clip.accumulation: {pairs}"
    rate = needs["samples_per_second"]
    if rate:
        yield f"hours of training: {needs['samples'] / rate / 3600:.1f} at {rate:g} clips a second"
    else:
        yield "hours of training: not known before a first run; --samples-per-second states a rate"


def _changes() -> dict[str, list[str]]:
    """What DVC finds changed, as sentences, by step."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=tied())
    if done.returncode != 0:
        raise GlusError(f"What would run is not known: `dvc status` in {Path.cwd()}: {' '.join(done.stderr.split())}")
    found: dict[str, list[Any]] = json.loads(done.stdout)
    return {step: [text for change in changes for text in _describe(change)] for step, changes in found.items()}


def _describe(change: str | dict[str, dict[str, Any]]) -> list[str]:
    if isinstance(change, str):
        return [change]
    return [
        f"{_name(path)}: {', '.join(state) if isinstance(state, dict) else state}"
        for entries in change.values()
        for path, state in entries.items()
    ]


def _name(path: str) -> str:
    """What a person calls a dependency."""
    if Path(path).parent != SOURCES:
        return path
    [step] = [step for step in STEPS if step.name == Path(path).stem]
    if step.lists_splits:
        return "raw data, or the splits of data.train and data.evaluation"
    return "given weights, or whether a selector is needed" if step.for_selector else "given weights or files"
