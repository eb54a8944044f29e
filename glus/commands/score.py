"""`glus score`: J and F of any folder of masks, ours or another model's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glus.commands.output import AllowLinks, print_table
from glus.files import to_json

if TYPE_CHECKING:
    from glus.evaluation.scorecard import Scorecard
    from glus.metrics.davis import ObjectScores
    from glus.metrics.results import Scores

OWN_SHARES = (
    "absent_empty and present_answered are our own definition, not the N-acc and T-acc of MeViS v2"
    " (docs/evaluation.md)."
)


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
    from glus.evaluation.folder_scoring import Request, score_folder

    links = tuple(allow_links or ())
    found = score_folder(Request(dataset, root, split, predictions, protocol, allow_missing, processes, links))
    if as_json:
        typer.echo(to_json(found.to_json()))
    else:
        _show(found)


def _show(found: Scorecard) -> None:
    from glus.evaluation.scorecard import num_missing
    from glus.metrics.presence import ABSENT_EMPTY

    print_table(*_table(found))
    heading = found.heading
    named = f"protocol {heading.protocol}, version {heading.protocol_version}"
    rule = f"{heading.dataset}/{heading.split} ({heading.dataset_version}), {named}: {heading.rule}."
    if found.missing:
        masks, expressions = num_missing(found.missing), len(found.missing)
        rule += f" Scored 0 because they are MISSING: {masks} masks ({expressions} expressions)."
    notes = [*found.notes, *([OWN_SHARES] if ABSENT_EMPTY in found.table["all"].measures else [])]
    for line in (rule, *(f"Note: {note}" for note in notes)):
        typer.echo(line)


def _table(found: Scorecard) -> tuple[list[str], list[list[list[str]]]]:
    """Headings, and rows: groups by measures; the longer of the two goes down."""
    cells = {group: _cells(scores) for group, scores in found.table.items()}
    names = list(dict.fromkeys(name for of_group in cells.values() for name in of_group))
    if len(names) > len(cells):
        return ["", *cells], [[[name, *(of_group.get(name, "–") for of_group in cells.values())] for name in names]]
    return ["", *names], [[[group, *(of_group.get(name, "–") for name in names)] for group, of_group in cells.items()]]


def _cells(scores: Scores | ObjectScores) -> dict[str, str]:
    """One group: J, F and J&F first, the count last."""
    measures = scores.measures
    names = ["J", "F", "JF", *(name for name in measures if name not in ("J", "F", "JF"))]
    cells = {"J&F" if name == "JF" else name: f"{measures[name]:.2f}" for name in names}
    return cells | {name: str(count) for name, count in scores.counts.items()}
