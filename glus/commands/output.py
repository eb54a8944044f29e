"""What commands write, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from glus.errors import InputError

AllowLinks = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FOLDER", help="Symbolic links in the dataset may lead into it, beside the DVC cache; repeatable."
    ),
]


def refuse_existing(output: Path) -> None:
    """Nothing is written over.

    Raises:
        InputError: the folder is there already.
    """
    if output.exists():
        raise InputError(f"{output} exists already; name another folder.")


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder beside `output` to write into; it becomes `output` when all went well, and vanishes otherwise."""
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        yield aside
        output.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def new_file(output: Path) -> Iterator[Path]:
    """A file beside `output` to write; it becomes `output` when all went well, and vanishes otherwise."""
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{os.getpid()}.{output.name}")
    try:
        yield aside
        aside.rename(output)
    finally:
        aside.unlink(missing_ok=True)
