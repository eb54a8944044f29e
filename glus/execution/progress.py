"""How far long work is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

T = TypeVar("T")

console = Console(stderr=True)
logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0
NUMBERS_WIDTH = 50  # columns of a terminal that the numbers of a bar take, with a short bar


class Display(Protocol):
    """Yields the items and shows how far the work is."""

    def __call__(self, items: Iterable[T], description: str, *, total: int) -> Iterator[T]:
        """`description` says what is being done; `total` is the number of items."""


def show_progress(items: Iterable[T], description: str, *, total: int, done: int = 0, unit: str = "") -> Iterator[T]:
    """Yields the items and shows how far the work is: a bar on a terminal, now and then a line elsewhere.

    Args:
        items: what to go through.
        description: what is being done.
        total: number of items, `done` included.
        done: items that an interrupted run has finished already.
        unit: what the items are (`frames`); their number per second is shown.
    """
    if console.is_terminal:
        return _with_bar(items, description, total, done, unit)
    return _with_lines(items, description, total, done, unit)


def show_bar(items: Iterable[T], description: str, *, total: int) -> Iterator[T]:
    """Yields the items and shows how far the work is: a bar on a terminal, nothing elsewhere."""
    return _with_bar(items, description, total, 0, "") if console.is_terminal else iter(items)


def _with_bar(items: Iterable[T], description: str, total: int, done: int, unit: str) -> Iterator[T]:
    whole = Column(no_wrap=True)  # on a narrow terminal the bar gives way, then the description; numbers do not
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True, max_width=console.width - NUMBERS_WIDTH)),
        BarColumn(bar_width=None, table_column=Column(max_width=40)),
        MofNCompleteColumn(table_column=whole),
        *([_Speed(unit, table_column=whole)] if unit else []),
        TimeElapsedColumn(table_column=whole),
        TextColumn("left"),
        TimeRemainingColumn(table_column=whole),
    )
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        task = progress.add_task(description, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)


class _Speed(ProgressColumn):
    """Items per second."""

    def __init__(self, unit: str, table_column: Column) -> None:
        super().__init__(table_column)
        self._unit = unit

    def render(self, task: Task) -> Text:
        """The speed once there is one."""
        return Text(f"{task.speed:.1f} {self._unit}/s" if task.speed else "")


def _with_lines(items: Iterable[T], description: str, total: int, done: int, unit: str) -> Iterator[T]:
    start = last = time.monotonic()
    count = done
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or count == total:
            last = now
            logger.info(_line(description, count, total, now - start, count - done, unit))


def _line(description: str, count: int, total: int, elapsed: float, since_start: int, unit: str) -> str:
    text = f"{description} {count}/{total}, {timedelta(seconds=round(elapsed))} elapsed"
    if unit and elapsed:
        text += f", {since_start / elapsed:.1f} {unit}/s"
    if count < total:
        text += f", about {timedelta(seconds=round(elapsed / since_start * (total - count)))} left"
    return text


def read_line(line: str) -> float | None:
    """How far the work is that a line of `show_progress` tells of, in percent; None for any other line."""
    found = re.search(r" (\d+)/(\d+), \d+(?: days?, \d+)?:\d\d:\d\d elapsed", line)
    return None if found is None else min(100.0, 100 * int(found[1]) / max(1, int(found[2])))
