"""What commands write, whole or not at all, and the tables that they show."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from glus.errors import InputError

GAP = 2  # spaces between the columns of a table

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


def print_table(columns: Sequence[str], sections: Sequence[Sequence[Sequence[str]]], *, texts: int = 1) -> None:
    """Prints a table as wide as the terminal allows (80 columns where there is none); nothing of it is cut off.

    Args:
        columns: their headings; those of numbers break at underscores.
        sections: rows of cells, with a line between sections.
        texts: how many of the columns, from the left, hold texts. They take several lines where there is no room;
            numbers that do not fit beside them even so stand in further tables, each with the same texts.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    columns = [*columns[:texts], *(name.replace("_", "_\n") for name in columns[texts:])]
    for shown in _side_by_side(columns, [row for rows in sections for row in rows], texts, console.width):
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
        for number in shown:
            table.add_column(
                columns[number],
                justify="left" if number < texts else "right",
                overflow="fold",
                no_wrap=number >= texts,
            )
        for rows in sections:
            for row in rows:
                table.add_row(*(row[number] for number in shown))
            table.add_section()
        console.print(table)


def _side_by_side(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int, width: int) -> Iterator[list[int]]:
    """Columns that fit into a width: those of texts, broken between words, and as many numbers as there is room for."""
    cells = list(zip(columns, *rows, strict=True))
    room = width + GAP - sum(_widest(r"^ *\S+|\S+", column) + GAP for column in cells[:texts])
    shown: list[int] = []
    taken = 0
    for number, column in enumerate(cells[texts:], texts):
        needed = _widest(r".+", column) + GAP
        if shown and taken + needed > room:
            yield [*range(texts), *shown]
            shown, taken = [], 0
        shown.append(number)
        taken += needed
    yield [*range(texts), *shown]


def _widest(part: str, cells: Sequence[str]) -> int:
    """Length of the longest part of any cell that a pattern finds."""
    return max((len(found) for cell in cells for found in re.findall(part, cell)), default=0)
