"""`glus app`: a web page for own videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glus.commands.options import ChosenPrecision, SelectorFolder, WindowStride
from glus.paths import FINAL_MODEL
from glus.segmenting.requests import Precision, SegmentRequest

HERE = "127.0.0.1"


def app(
    model: Annotated[Path, typer.Option(help="Folder of the model.")] = FINAL_MODEL,
    selector: SelectorFolder = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to serve at; another one than 127.0.0.1 lets other machines in, unasked.")
    ] = HERE,
    max_frames: Annotated[int, typer.Option(min=1, metavar="N", help="Refuse videos with more frames.")] = 1000,
    max_sentences: Annotated[int, typer.Option(min=1, metavar="N", help="Refuse more of a visitor at once.")] = 20,
    max_visitors: Annotated[int, typer.Option(min=1, metavar="N", help="Refuse more tabs at once.")] = 8,
    window_stride: WindowStride = 1,
    precision: ChosenPrecision = Precision.FLOAT32,
) -> None:
    """Serve a web page: upload a video, type sentences, watch the masks come, take them along (needs glus[app]).

    Example: glus app --model models/glus/final --selector models/selector
    """
    from glus.app.serving import is_loopback, require_gradio, require_port, serve

    require_gradio()
    require_port(host, port)
    from glus.app.visitor import Service
    from glus.segmenting.models import Models

    request = SegmentRequest(model=model, selector=selector, window_stride=window_stride, precision=precision)
    models = Models(request)
    models.require()
    service = Service(models.glus, models.selector, window_stride, max_frames, max_sentences)
    if not is_loopback(host):
        typer.echo(f"Whoever reaches {host} can use this page and this machine's time: it asks for no password.")
    serve(service, host, port, max_visitors, lambda address: typer.echo(f"The page is at {address} (Ctrl-C ends it)."))
    typer.echo("Ended; what visitors uploaded and exported is removed.")
