"""`glus check`: every fault of a raw dataset."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from glus.errors import InputError


def check(
    dataset: Annotated[str, typer.Option(help="Name of the dataset's layout, e.g. mevis.")],
    root: Annotated[Path, typer.Option(help="Its folder, as published.")],
    split: Annotated[str | None, typer.Option(help="One split; all that are there if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the faults as JSON.")] = False,
) -> None:
    """List every fault of a raw dataset; exit code 2 if one of them is an error."""
    from glus.staging.checks import check_dataset

    splits = [split] if split else _splits_there(dataset, root)
    faults = [fault for name in splits for fault in check_dataset(dataset, root, name)]
    num_errors = sum(fault.severity == "error" for fault in faults)
    if as_json:
        typer.echo(json.dumps([asdict(fault) for fault in faults], indent=1))
    else:
        for fault in faults:
            typer.echo(f"{fault.severity}: {fault}")
        typer.echo(f"{num_errors} errors, {len(faults) - num_errors} warnings")
    raise typer.Exit(2 if num_errors else 0)


def _splits_there(dataset: str, root: Path) -> list[str]:
    """The published splits that lie below a dataset's root."""
    from glus.staging.readers import reader

    found = []
    for name in reader(dataset).PUBLISHED:
        try:
            reader(dataset).load(root, name)
        except InputError:
            continue
        found.append(name)
    if not found:
        raise InputError(f"{root} holds none of the splits of {dataset}: {', '.join(reader(dataset).PUBLISHED)}.")
    return found
