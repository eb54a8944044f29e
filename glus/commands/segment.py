"""`glus segment`: own videos and sentences in; masks, an overlay video and forms for other tools out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glus.commands.options import ChosenPrecision, SelectorFolder, WindowStride
from glus.errors import InputError
from glus.segmenting.requests import DESCRIPTIONS, Format, Precision, SegmentRequest

FORMATS = (
    "Films that FFmpeg reads (mp4, mov, mkv, webm, avi, ...), folders of frames (jpg, jpeg, png, bmp, webp) in the"
    " order of their numbers, or tables (.csv) with the columns video and sentence, whose paths begin at the table's"
    " folder."
)
FORMS = "; ".join(f"{form}: {what}" for form, what in DESCRIPTIONS.items())


def segment(  # noqa: PLR0913
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO", help=FORMATS)],
    model: Annotated[Path, typer.Option(help="Folder of the model, e.g. models/glus/final.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to write; of several videos, a folder in it for each.")
    ],
    expressions: Annotated[
        list[str] | None, typer.Option("-e", "--expression", help="What to segment; may be given again.")
    ] = None,
    selector: SelectorFolder = None,
    key_frame: Annotated[
        int | None, typer.Option("--key-frame", metavar="N", help="Frame to start from, both ways (counted from 0).")
    ] = None,
    anchor: Annotated[int | None, typer.Option(hidden=True)] = None,
    frames: Annotated[str | None, typer.Option(metavar="A:B", help="Only frames A to B, B not included.")] = None,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="Only every N-th frame.")] = 1,
    window_stride: WindowStride = 1,
    precision: ChosenPrecision = Precision.FLOAT32,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile SAM-2's image encoder, which takes minutes; meant for a GPU.")
    ] = False,
    formats: Annotated[list[Format] | None, typer.Option("--format", help=f"May be given again. {FORMS}.")] = None,
) -> None:
    """Segment what sentences describe in videos; killed and started again, it goes on where it was.

    Example: glus segment film.mp4 -e "the dog that jumps" -e "the child" --model models/glus/final -o out --format png
    """
    if anchor is not None and key_frame is not None:
        raise InputError("--anchor is an older name of --key-frame; give one of them.")
    request = SegmentRequest(
        model=model,
        selector=selector,
        span=frames,
        every=every,
        key_frame=anchor if key_frame is None else key_frame,
        window_stride=window_stride,
        precision=precision,
        compiled=compiled,
        formats=tuple(dict.fromkeys(formats or [])),
        key_frame_option="--key-frame" if anchor is None else "--anchor",
    )
    from glus.segmenting.jobs import plan_jobs
    from glus.segmenting.run import run_jobs

    for said in run_jobs(plan_jobs(videos, expressions or [], output), request):
        typer.echo(said)
