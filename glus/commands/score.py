"""`glus score`: J and F of any folder of masks, ours or another model's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glus.commands.output import AllowLinks, progress_bar
from glus.files import to_json

if TYPE_CHECKING:
    from rich.table import Table

    from glus.evaluation.scorecard import Request


def score(
    dataset: Annotated[str, typer.Option(help="Name of the dataset, e.g. mevis.")],
    root: Annotated[Path, typer.Option(help="Its folder as published, or data/staged.")],
    split: Annotated[str, typer.Option(help="E.g. valid_u.")],
    predictions: Annotated[Path, typer.Option(help="Folder of <video>/<expression>/<frame>.png, or our Parquet.")],
    protocol: Annotated[
        str | None, typer.Option(help="The dataset's own if not given; see docs/evaluation.md.")
    ] = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Score 0 what is missing.")] = False,
    allow_links: AllowLinks = None,
    processes: Annotated[int, typer.Option(min=1, help="Videos scored at a time.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the scores, of every expression too, as JSON.")
    ] = False,
) -> None:
    """Score masks against a dataset as its benchmark does; refuse a mean over an incomplete set."""
    from glus.evaluation.scorecard import Request, score_folder

    request = Request(dataset, root, split, predictions, protocol, allow_missing, processes, tuple(allow_links or ()))
    found = score_folder(request, progress_bar)
    if as_json:
        typer.echo(to_json(found))
    else:
        _show(request, found)


def _show(request: Request, found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console()
    console.print(_table(found))
    named = f"protocol {found['protocol']}, version {found['protocol_version']}"
    rule = f"{request.dataset}/{request.split} ({found['dataset_version']}), {named}: {found['rule']}."
    missing = found["missing"]
    if missing["frames"]:
        rule += f" Scored 0 because they are MISSING: {missing['frames']} masks ({missing['expressions']} expressions)."
    for line in (rule, *(f"Note: {note}" for note in found["notes"])):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _table(found: dict[str, Any]) -> Table:
    """Groups by measures; the longer of the two goes down."""
    from rich.table import Table

    groups = {"all": found, **found.get("families", {}), **found.get("annotators", {})}
    names = ["J", "F", "JF", *(name for name in found if name.startswith(("J_", "F_", "R_", "A_")))]
    counted = "num_expressions" if "per_expression" in found else "num_objects"
    cells = {
        group: {"J&F" if name == "JF" else name: f"{values[name]:.2f}" for name in names}
        | {counted.removeprefix("num_"): str(values[counted])}
        for group, values in groups.items()
    }
    if len(names) > len(groups):
        cells = {name: {group: cells[group][name] for group in groups} for name in cells["all"]}
    table = Table("", *next(iter(cells.values())))
    for row, values in cells.items():
        table.add_row(row, *values.values())
    return table
