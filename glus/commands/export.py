"""`glus export`: predictions as PNG trees, COCO JSON and server zips, the check of a zip, and splits for lmms-eval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glus.commands.listing import Listed
from glus.commands.output import AllowLinks, new_file, new_folder, refuse_existing

if TYPE_CHECKING:
    from glus.evaluation.answers import Answers
    from glus.evaluation.truth import PublishedTruth
    from glus.records.split import StagedSplit

app = typer.Typer(cls=Listed, help="Predictions for other tools and for the benchmarks' servers.", no_args_is_help=True)

Dataset = Annotated[str, typer.Option(help="Name of the dataset, e.g. mevis.")]
Root = Annotated[Path, typer.Option(help="Its folder as published, or data/staged.")]
Split = Annotated[str, typer.Option(help="E.g. valid.")]
Predictions = Annotated[Path, typer.Option(help="Our Parquet, or a folder of <video>/<expression>/<frame>.png.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="What to write; must not exist yet.")]
Processes = Annotated[int, typer.Option(min=1, help="Videos worked on at a time.")]


@app.command()
def png(
    dataset: Dataset,
    root: Root,
    split: Split,
    predictions: Predictions,
    output: Output,
    processes: Processes = 1,
    allow_links: AllowLinks = None,
) -> None:
    """Write <video>/<expression>/<frame>.png, 8-bit grey, 0 and 255."""
    from glus.evaluation.exports import write_png_tree

    refuse_existing(output)
    truth, answers = _open(dataset, root, split, predictions, processes, allow_links)
    with new_folder(output) as folder:
        count = write_png_tree(truth, answers, folder, processes)
    typer.echo(f"{output} written: {count} masks of {len(answers.tracks)} expressions")
    _say_what_is_missing(truth, answers)


@app.command()
def coco(
    dataset: Dataset,
    root: Root,
    split: Split,
    predictions: Predictions,
    output: Output,
    processes: Processes = 1,
    allow_links: AllowLinks = None,
) -> None:
    """Write COCO's JSON for videos: one annotation per expression, run lengths per frame."""
    from glus.evaluation.exports import to_coco
    from glus.files import write_json

    refuse_existing(output)
    truth, answers = _open(dataset, root, split, predictions, processes, allow_links)
    write_json(to_coco(truth, answers), output)
    typer.echo(f"{output} written: {len(answers.tracks)} expressions")
    _say_what_is_missing(truth, answers)


@app.command()
def submission(
    dataset: Dataset,
    root: Root,
    split: Split,
    predictions: Predictions,
    output: Output,
    processes: Processes = 1,
    allow_links: AllowLinks = None,
) -> None:
    """Write the zip that the server of MeViS or Refer-YouTube-VOS takes, and check it."""
    from glus.evaluation.submission import Submission, check_submission, server_folder, write_submission

    refuse_existing(output)
    folder = server_folder(dataset)
    truth, answers = _open(dataset, root, split, predictions, processes, allow_links)
    wanted = Submission(truth, folder)
    with new_file(output) as file:
        write_submission(wanted, answers, file, processes)
        count = check_submission(wanted, file, processes)
    typer.echo(f"{output} written and checked: {_counts(truth, count)}")


@app.command("lmms-eval")
def lmms_eval(
    dataset: Dataset,
    root: Root,
    split: Split,
    output: Output,
    processes: Processes = 1,
    allow_links: AllowLinks = None,
) -> None:
    """Write a split's sentences and true masks as lmms-eval's rvos tasks read them: Parquet and JSON."""
    from glus.evaluation.lmms_layout import write_lmms_split
    from glus.evaluation.truth import open_ground_truth

    refuse_existing(output)
    truth = open_ground_truth(dataset, root, split, processes, allow_links or ())
    with new_folder(output) as folder:
        count = write_lmms_split(truth, folder)
    typer.echo(
        f"{output} written: {count} expressions, no films (lmms-eval looks for videos/<video>.mp4, 6 frames a second)"
    )


@app.command()
def check(
    archive: Annotated[Path, typer.Argument(metavar="ZIP", help="The zip to check.")],
    dataset: Dataset,
    root: Root,
    split: Split,
    processes: Processes = 1,
    allow_links: AllowLinks = None,
) -> None:
    """Check names, counts, sizes and values of a server zip, whoever wrote it; exit code 2 if it is wrong."""
    from glus.evaluation.submission import Submission, check_submission, server_folder
    from glus.evaluation.truth import open_split

    folder = server_folder(dataset)
    truth = open_split(dataset, root, split, processes, allow_links or ())
    count = check_submission(Submission(truth, folder), archive, processes)
    typer.echo(f"{archive} is what the server takes: {_counts(truth, count)}")


def _open(
    dataset: str, root: Path, split: str, predictions: Path, processes: int, allow_links: list[Path] | None
) -> tuple[StagedSplit | PublishedTruth, Answers]:
    from glus.evaluation.answers import find_answers
    from glus.evaluation.truth import open_split

    truth = open_split(dataset, root, split, processes, allow_links or ())
    return truth, find_answers(predictions, truth)


def _say_what_is_missing(truth: StagedSplit | PublishedTruth, answers: Answers) -> None:
    """A set that is not complete is written as it is, but not silently."""
    from glus.errors import name_some
    from glus.evaluation.completeness import describe_missing, find_missing
    from glus.evaluation.predictions import expressions_by_key

    expected = {key: truth.videos[key[0]].num_frames for key in expressions_by_key(truth)}
    if missing := find_missing(expected, answers.frames()):
        named = name_some(describe_missing(missing, expected))
        typer.echo(f"INCOMPLETE: masks of {len(missing)} of {len(expected)} expressions are missing: {named}", err=True)


def _counts(truth: StagedSplit | PublishedTruth, num_masks: int) -> str:
    """What was counted, beside what the owners publish."""
    from glus.evaluation.truth import release_of
    from glus.staging.readers.registry import published

    num_expressions = sum(len(expressions) for expressions in truth.expressions.values())
    known = published(truth.dataset, truth.split, release_of(truth))
    beside = f" (published: {known.videos} and {known.expressions})" if known else ""
    return f"{len(truth.videos)} videos, {num_expressions} expressions{beside}, {num_masks} masks"
