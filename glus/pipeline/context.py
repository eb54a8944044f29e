"""What a step is given: its parameters, its inputs' hashes, a scratch folder, and ways to publish, show and track."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from glus.execution.progress import show_progress
from glus.manifest import Manifest, write_manifest
from glus.publishing import publish

if TYPE_CHECKING:
    from glus.config import Config
    from glus.pipeline.table import Step
    from glus.pipeline.tracking import Tracker

T = TypeVar("T")


@dataclass(frozen=True)
class StepContext:
    """What `glus.steps.<step>.run` is given.

    Attributes:
        config: all parameters.
        step: the step's entry in the table of steps.
        work: scratch folder. It survives a kill and belongs to what decides the step (parameters, inputs, code), so
            finished pieces found there are this run's own. What was published stays there too, so that a run killed
            between two publications publishes both again; it is removed after success.
        inputs: content hash of each artifact that the step reads, by path.
        tracker: MLflow; never fails or slows the step.
    """

    config: Config
    step: Step
    work: Path
    inputs: Mapping[str, str]
    tracker: Tracker

    def publish_directory(self, source: Path, target: Path, extra: dict[str, Any] | None = None) -> Manifest:
        """Writes the manifest of a finished folder below `work` and puts the folder in place of `target`.

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

    def publish_plain(self, source: Path, target: Path) -> None:
        """Puts a finished file below `work`, or a folder that has no manifest, in place of `target`."""
        publish(source, target)

    def progress(self, items: Iterable[T], description: str, *, total: int, done: int = 0) -> Iterator[T]:
        """Yields the items and shows how far the step is, as `show_progress` does."""
        return show_progress(items, f"{self.step.name}: {description}", total=total, done=done)
