"""`glus check`: every fault of a raw dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from glus.commands.output import AllowLinks
from glus.files import to_json


def check(
    dataset: Annotated[str, typer.Option(help="Name of the dataset's layout, e.g. mevis.")],
    root: Annotated[Path, typer.Option(help="Its folder, as published.")],
    split: Annotated[str | None, typer.Option(help="One split; all that are there if not given.")] = None,
    allow_links: AllowLinks = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that open frames and masks.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the faults as JSON.")] = False,
) -> None:
    """List every fault of a raw dataset; exit code 2 if one of them is an error."""
    from glus.staging.files.expression_lists import MissingError

    try:
        faults = _faults(dataset, root, split, workers, allow_links or [])
    except MissingError as missing:
        if not as_json:
            raise
        faults = [missing.fault().row(dataset, split or "")]
    num_errors = sum(fault["severity"] == "error" for fault in faults)
    if as_json:
        typer.echo(to_json(faults))
    else:
        for fault in faults:
            typer.echo(_line(fault))
        typer.echo(f"{num_errors} errors, {len(faults) - num_errors} warnings")
    raise typer.Exit(2 if num_errors else 0)


def _faults(dataset: str, root: Path, split: str | None, workers: int, links: list[Path]) -> list[dict[str, Any]]:
    from glus.staging.checks import check_dataset

    return [
        fault.row(dataset, name)
        for name in ([split] if split else _splits_there(dataset, root))
        for fault in check_dataset(dataset, root, name, workers, links)
    ]


def _splits_there(dataset: str, root: Path) -> list[str]:
    """The splits that lie below a dataset's root."""
    from glus.staging.files.expression_lists import MissingError
    from glus.staging.readers.registry import reader

    layout = reader(dataset)
    if found := layout.splits(root):
        return found
    there = "holds no split" if root.is_dir() else "does not exist; it should be the folder"
    message = f"{root} {there} of {dataset}. Expected below it:{layout.TREE}Published by {layout.PUBLISHER}."
    raise MissingError(message, "")


def _line(fault: dict[str, Any]) -> str:
    place = ", ".join(part for part in (fault["file"], fault["record"]) if part)
    return f"{fault['severity']}: {fault['split']}: {place}: {fault['problem']}. {fault['action']}."
