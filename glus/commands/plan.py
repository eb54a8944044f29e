"""`glus plan`: which steps are up to date, and which `dvc repro` would run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from glus.errors import GlusError
from glus.execution.devices import require_device
from glus.execution.ties import tied
from glus.files import to_json
from glus.pipeline.sources import SOURCES, update_sources
from glus.pipeline.table import STEPS


def plan(as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False) -> None:
    """Show the seven steps: what is up to date, what would run, and why."""
    from glus.config import load_config

    config = load_config()
    require_device(config.compute)
    update_sources(config)
    changes = _changes()
    rows = [{"step": step.name, "state": "", "why": changes.get(step.name, [])} for step in STEPS]
    stale = False
    for row in rows:
        row["state"] = "changed" if row["why"] else "after a changed step" if stale else "up to date"
        stale = stale or bool(row["why"])
    if as_json:
        typer.echo(to_json(rows))
        return
    for row in rows:
        typer.echo(f"{row['step']:<12} {row['state']:<21} {'; '.join(row['why'])}".rstrip())
    if stale:
        typer.echo("`dvc repro` would run the changed steps, and those after them unless their inputs come out equal.")
    else:
        typer.echo("Everything is up to date: `dvc repro` would do nothing.")


def _changes() -> dict[str, list[str]]:
    """What DVC finds changed, as sentences, by step."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=tied())
    if done.returncode != 0:
        raise GlusError(f"`dvc status` failed in {Path.cwd()}: {' '.join(done.stderr.split())}")
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
    optional = any(step.for_selector for step in STEPS if step.name == Path(path).stem)
    return "given weights, or whether a selector is needed" if optional else "raw data or given weights"
