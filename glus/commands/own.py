"""`glus own`: fine-tune on one's own labelled videos, a command for each step (docs/own_data.md)."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glus.commands.listing import Listed
from glus.commands.output import new_folder, refuse_existing
from glus.errors import InputError
from glus.paths import STAGED

if TYPE_CHECKING:
    from glus.own.labels import AnnotatedVideo
    from glus.own.sentences import Said

app = typer.Typer(
    cls=Listed, help="Your own labelled videos: read, fine-tune on them, compare, review.", no_args_is_help=True
)
logger = logging.getLogger(__name__)


class Form(StrEnum):
    """What labels are read from; each is a module of `glus.own.readers`."""

    PNG = "png"
    COCO = "coco"
    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"
    SEGMENT = "segment"


FEWEST_FOR_A_SELECTOR = 2  # one to train on, one to validate by
FORMS = (
    "png: a folder of <video>/<frame>.png, pixel value = object; coco: JSON for videos (YouTube-VIS) or images; cvat:"
    " XML 1.1 for video or images; label-studio: JSON, brushes and polygons on frames; segment: what `glus segment`"
    " wrote, corrected or not."
)
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The dataset, e.g. data/own.")]
From = Annotated[Form, typer.Option("--from", help=FORMS)]
Labels = Annotated[list[Path], typer.Option("--labels", help="A file or folder of labels; may be given again.")]
Videos = Annotated[Path, typer.Option(help="Folder of the films or folders of frames that the labels are of.")]
Sentences = Annotated[
    Path | None,
    typer.Option(help="CSV with the columns video, object, sentence; without it, labels are the sentences."),
]


@app.command()
def init(
    folder: Folder,
    form: From,
    labels: Labels,
    videos: Videos,
    sentences: Sentences = None,
    share: Annotated[float, typer.Option(min=0.01, max=0.99, help="Part of the videos that is held out.")] = 0.25,
    held_out: Annotated[
        list[str] | None, typer.Option(help="A video to hold out instead of a share; may be given again.")
    ] = None,
) -> None:
    """Write labelled videos as a dataset: a part to train on, and a held-out part to compare by.

    Example: glus own init data/own --from cvat --labels annotations.xml --videos films --sentences sentences.csv
    """
    from glus.own.dataset import create, hold_out

    refuse_existing(folder)
    found, said = _read(form, labels, videos, sentences)
    names = [video.name for video in found]
    if unknown := sorted(set(held_out or []) - set(names)):
        raise InputError(f"--held-out {unknown[0]}: no such video is labelled; there are {', '.join(sorted(names))}.")
    kept = set(held_out) if held_out else hold_out(names, share)
    if len(kept) == len(set(names)):
        raise InputError("--held-out names all labelled videos, so nothing is left to train on.")
    create(folder, found, said, kept)
    if len(names) - len(kept) < FEWEST_FOR_A_SELECTOR:
        logger.warning("warning: one video to train on is enough for `glus train`; a selector needs two. Label more.")
    typer.echo(f"{folder} written: {len(names) - len(kept)} videos to train on, held out: {', '.join(sorted(kept))}")
    typer.echo(f"Next: glus check --dataset own --root {folder}; then: glus own params {folder} --model MODEL")


@app.command()
def add(folder: Folder, form: From, labels: Labels, videos: Videos, sentences: Sentences = None) -> None:
    """Add labelled videos to the part that is trained on; the held-out part stays as it is."""
    from glus.own.dataset import add as add_videos

    found, said = _read(form, labels, videos, sentences)
    add_videos(folder, found, said)
    typer.echo(f"{', '.join(video.name for video in found)} added to {folder}. Next: dvc repro")


@app.command()
def params(
    folder: Folder,
    model: Annotated[Path, typer.Option(help="The trained model to start from, e.g. models/glus/final.")],
    base: Annotated[Path, typer.Option(help="Where its copy is kept; no step writes there.")] = Path("weights/base"),
    steps: Annotated[int, typer.Option(min=5, help="Training steps, of the model and of the selector.")] = 100,
) -> None:
    """Write params.yaml for fine-tuning a model, which is copied where a step would delete it; all else stays there."""
    from glus.commands.params import PARAMS, edited
    from glus.files import replace_by_text
    from glus.own.parameters import fine_tuning, keep_model
    from glus.staging.readers.own import splits

    if len(splits(folder)) < 2:
        raise InputError(
            f"{folder} has no train/expressions.csv and valid/expressions.csv; write it by `glus own init`."
        )
    start = keep_model(model, base)
    replace_by_text(PARAMS, edited(PARAMS, fine_tuning(folder, start, steps)))
    typer.echo(f"{PARAMS} fine-tunes {start}{f', a copy of {model},' if start != model else ''} for {steps} steps")
    typer.echo(f"Next: dvc repro; then: glus own compare --before {start} --after models/glus/final -o own_report")


@app.command()
def compare(
    before: Annotated[Path, typer.Option(help="The model before, e.g. weights/base.")],
    after: Annotated[Path, typer.Option(help="The fine-tuned one, e.g. models/glus/final.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; resumed where it is there.")],
    split: Annotated[
        str, typer.Option(help="valid: the held-out videos; train: those that were trained on.")
    ] = "valid",
    root: Annotated[Path, typer.Option(help="Staged data.")] = STAGED,
) -> None:
    """Segment the held-out videos with both models, and show J&F and pictures of each sentence."""
    from glus.commands.compare import show_compared
    from glus.own.before_after import AFTER, BEFORE, PAGE, compare_before_after, segment_split

    for said in segment_split(root, split, {BEFORE: before, AFTER: after}, output):
        typer.echo(said)
    found = compare_before_after(root, split, output, (str(before), str(after)))
    show_compared(found)
    for pair in reversed(found.pairs):
        texts = {item.expression_id: item.text for item in found.truth.expressions[pair.key[0]]}
        typer.echo(f"{100 * pair.a.jf:5.1f} -> {100 * pair.b.jf:5.1f}  {pair.key[0]}: {texts[pair.key[1]]}")
    typer.echo(f"{output / PAGE} written")


@app.command()
def review(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT", help="What `glus segment` wrote.")],
    videos: Videos,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist yet.")],
) -> None:
    """List segmented sentences, those first where the selector and the model disagree: review.csv and review.html."""
    from glus.own import review as reviewing
    from glus.own.videos import VideoFolder

    refuse_existing(output)
    found = reviewing.review(results)
    with new_folder(output) as folder:
        folder.mkdir(parents=True)
        (folder / reviewing.TABLE).write_text(reviewing.to_csv(found), encoding="utf-8")
        (folder / reviewing.PAGE).write_text(reviewing.to_page(found, VideoFolder(videos)), encoding="utf-8")
    for item in found[:5]:
        typer.echo(f"{item.disagreement:.2f}  {item.video}: {item.sentence}")
    typer.echo(f"{output} written: {len(found)} sentences")


def _read(
    form: Form, labels: list[Path], videos: Path, sentences: Path | None
) -> tuple[list[AnnotatedVideo], dict[str, Said]]:
    from glus.own import sentences as saying
    from glus.own.dataset import require_once
    from glus.own.readers import coco, cvat, label_studio, png, segmented
    from glus.own.videos import VideoFolder

    readers = {
        Form.PNG: png.read,
        Form.COCO: coco.read,
        Form.CVAT: cvat.read,
        Form.LABEL_STUDIO: label_studio.read,
        Form.SEGMENT: segmented.read,
    }
    table = None if sentences is None else saying.read_table(sentences)
    folder = VideoFolder(videos)
    found = [video for path in labels for video in readers[form](path, folder)]
    if not found:
        raise InputError(f"{', '.join(map(str, labels))} holds no labelled object.")
    require_once(found)
    if sentences is not None and table is not None:
        return found, saying.from_table(sentences, table, found)
    said = saying.from_labels(labels, found)
    if form is not Form.SEGMENT:
        shown = sorted({text for texts in said.values() for text in texts})
        logger.warning(
            "Labels are the sentences: %s. A table (--sentences) with several for each object teaches more.",
            ", ".join(shown[:8]),
        )
    return found, said
