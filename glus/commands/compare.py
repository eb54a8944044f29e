"""`glus compare`: two runs on the same sentences, with the interval of their difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glus.commands.output import AllowLinks, new_file, print_table, refuse_existing
from glus.errors import InputError
from glus.files import to_json
from glus.paths import STAGED

if TYPE_CHECKING:
    from glus.evaluation.comparison import ComparedSplit
    from glus.metrics.pairing import Difference

Run = "a project, its predictions/, or masks as `glus score` takes them"


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help=f"The run to compare with: {Run}.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The run that is judged, likewise.")],
    root: Annotated[Path, typer.Option(help="The ground truth: data/staged, or the dataset as published.")] = STAGED,
    dataset: Annotated[str | None, typer.Option(help="With --split: compare this split alone.")] = None,
    split: Annotated[str | None, typer.Option(help="E.g. valid_u.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Page with pictures of the 20 worst.")] = None,
    allow_links: AllowLinks = None,
    processes: Annotated[int, typer.Option(min=1, help="Videos scored at a time.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the differences, of every sentence too.")] = False,
) -> None:
    """Pair two runs sentence by sentence: gain in J&F with its interval over videos, by family, size, length."""
    from glus.evaluation.comparison import Runs, compare_runs

    if (dataset is None) != (split is None):
        raise InputError("--dataset and --split go together; without them all splits that both runs have are compared.")
    if output:
        refuse_existing(output)
    wanted = (dataset, split) if dataset and split else None
    splits, alone = compare_runs(Runs((a, b), root, wanted, processes, tuple(allow_links or ()), seed=0))
    if output:
        from glus.reporting.comparison import write_comparison

        with new_file(output) as file:
            write_comparison(splits, alone, (str(a), str(b)), file)
    if as_json:
        typer.echo(to_json({"splits": {item.name: item.to_json() for item in splits}, "unmatched": alone}))
        return
    for item in splits:
        show_compared(item)
    for text in alone:
        typer.echo(f"Left out: {text}.")
    if output:
        typer.echo(f"{output} written")


def show_compared(found: ComparedSplit) -> None:
    """Prints the table of a split, and the sentences of which B loses most."""
    typer.echo(f"{found.name} · J&F")
    columns = ("", "A", "B", "gain", "95 % over videos", "better", "worse", "sentences")
    groups = [
        [(breakdown, *[""] * 7), *((f"  {group}", *_cells(of_group)) for group, of_group in groups.items())]
        for breakdown, groups in found.groups.items()
    ]
    print_table(columns, [[("all", *_cells(found.overall))], *groups])
    for text in found.unmatched:
        typer.echo(f"{text}.")
    for pair in found.worst:
        typer.echo(
            f"{100 * pair.gain:+.1f}: video {pair.key[0]}, expression {pair.key[1]} (J&F {100 * pair.a.jf:.1f} and"
            f" {100 * pair.b.jf:.1f})"
        )


def _cells(found: Difference) -> list[str]:
    interval = "one video" if found.low is None else f"{found.low:+.2f} to {found.high:+.2f}"
    counts = (found.num_better, found.num_worse, found.num_expressions)
    return [f"{found.a:.2f}", f"{found.b:.2f}", f"{found.gain:+.2f}", interval, *map(str, counts)]
