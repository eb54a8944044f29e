"""`glus replay`: a run made again from its passport, and compared with it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glus.errors import InputError
from glus.files import to_json
from glus.pipeline.table import STEPS

if TYPE_CHECKING:
    from glus.replay.comparison import Replayed


def replay(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A passport.json, a folder that holds one, or the id of an MLflow run.")
    ],
    first: Annotated[
        str, typer.Option("--from", metavar="STEP", help="Compute from this step on; what is before it is taken over.")
    ] = STEPS[0].name,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a run again from its commit and parameters; exit code 0 if all metrics and artifacts are equal, 1 if not."""
    from glus.pipeline.runner import interrupted_by_sigterm
    from glus.replay.lookup import find_passport
    from glus.replay.run import replay as make_again

    names = [step.name for step in STEPS]
    if first not in names:
        raise InputError(f"--from {first!r} is no step; the steps are {', '.join(names)}.")
    passport = find_passport(Path(), run)
    with interrupted_by_sigterm():
        replayed = make_again(Path(), passport, first)
    typer.echo(to_json(asdict(replayed)) if as_json else _words(replayed))
    if replayed.results:
        raise typer.Exit(1)


def _words(replayed: Replayed) -> str:
    compared = f"{replayed.num_values} numbers and {replayed.num_artifacts} artifacts compared"
    if not replayed.results:
        return f"equal: {compared}"
    causes = [f"  not as in the run: {cause}" for cause in replayed.causes]
    return "\n".join([f"different: {compared}", *(f"  {found}" for found in replayed.results), *causes])
