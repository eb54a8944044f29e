"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glus.segmenting.requests import PRECISIONS, Precision

SelectorFolder = Annotated[Path | None, typer.Option(help="Folder of a key-frame selector.")]
WindowStride = Annotated[
    int, typer.Option(min=1, help="Frames that one reading of the language model answers for; 1 is the paper's.")
]
ChosenPrecision = Annotated[
    Precision, typer.Option(help="; ".join(f"{name}: {what}" for name, what in PRECISIONS.items()) + ".")
]
