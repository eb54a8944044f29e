"""What a step is given: its parameters, its inputs' hashes, a scratch folder, and ways to publish, show and track."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from glus.manifest import Manifest, publish, write_manifest
from glus.parallel import map_in_processes

if TYPE_CHECKING:
    from glus.config import Config
    from glus.pipeline.steps import Step
    from glus.tracking import Tracker

T = TypeVar("T")

console = Console(stderr=True)
logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class StepContext:
    """What `glus.pipeline.<step>.run` is given.

    Attributes:
        config: all parameters.
        step: the step's entry in the table of steps.
        work: scratch folder on the artifacts' file system. It survives a kill and belongs to the step's parameters
            and inputs, so finished pieces found there are this run's own; it is removed after success.
        inputs: content hash of each artifact that the step reads, by path.
        tracker: MLflow; never fails or slows the step.
    """

    config: Config
    step: Step
    work: Path
    inputs: Mapping[str, str]
    tracker: Tracker

    def publish_directory(self, source: Path, target: Path, extra: dict[str, Any] | None = None) -> Manifest:
        """Writes the manifest of a finished folder below `work` and renames the folder to `target`.

        Args:
            extra: facts that readers of the artifact need; part of its content hash.
        """
        manifest = write_manifest(
            source,
            step=self.step.name,
            parameters=self.config.parameters(self.step.parameters),
            inputs=self.inputs,
            extra=extra,
        )
        publish(source, target)
        return manifest

    def publish_file(self, source: Path, target: Path) -> None:
        """Renames a finished file below `work` to `target`."""
        publish(source, target)

    def finish_pieces(
        self, build: Callable[[], Callable[[int], None]], pieces: Sequence[Path], description: str
    ) -> None:
        """Makes the pieces that are not there yet, `compute.processes` at a time.

        Args:
            build: makes, in each process, the function that makes a piece from its number; picklable.
            pieces: the file of each piece that is written last, at once.
            description: of the progress.
        """
        waiting = [number for number, piece in enumerate(pieces) if not piece.exists()]
        made = map_in_processes(build, waiting, self.config.compute.processes)
        for _ in self.progress(made, description, total=len(pieces), done=len(pieces) - len(waiting)):
            pass

    @overload
    def progress(self, items: int, description: str, *, total: int | None = ..., done: int = ...) -> Iterator[int]: ...

    @overload
    def progress(
        self, items: Iterable[T], description: str, *, total: int | None = ..., done: int = ...
    ) -> Iterator[T]: ...

    def progress(
        self, items: Iterable[T] | int, description: str, *, total: int | None = None, done: int = 0
    ) -> Iterator[Any]:
        """Yields the items and shows how far the step is: a bar on a terminal, now and then a line elsewhere.

        Args:
            items: what to go through; a number stands for `range(number)`.
            total: number of items where they have no length, `done` included.
            done: items that an interrupted run has finished already.
        """
        sequence: Iterable[Any] = range(items) if isinstance(items, int) else items
        if total is None and isinstance(sequence, Sized):
            total = len(sequence) + done
        description = f"{self.step.name}: {description}"
        if console.is_terminal:
            return _with_bar(sequence, description, total, done)
        return _with_lines(sequence, description, total, done)


def _with_bar(items: Iterable[T], description: str, total: int | None, done: int) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=2) as progress:
        task = progress.add_task(description, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)


def _with_lines(items: Iterable[T], description: str, total: int | None, done: int) -> Iterator[T]:
    start = last = time.monotonic()
    count = done
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or count == total:
            last = now
            logger.info(_line(description, count, total, now - start, count - done))


def _line(description: str, count: int, total: int | None, elapsed: float, since_start: int) -> str:
    text = f"{description} {count}{f'/{total}' if total else ''}, {timedelta(seconds=round(elapsed))} elapsed"
    if total and count < total:
        text += f", about {timedelta(seconds=round(elapsed / since_start * (total - count)))} left"
    return text
