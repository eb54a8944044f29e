"""A split's videos as pieces of a step: made by `compute.engine`, kept in the scratch folder until the step is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glus.errors import InputError
from glus.execution.engines import make_missing
from glus.execution.pieces import Make, StepPieces, piece_name

if TYPE_CHECKING:
    from glus.pipeline.context import StepContext
    from glus.records.split import StagedSplit
    from glus.records.video import Video

logger = logging.getLogger(__name__)


def finish_pieces(
    context: StepContext,
    name: str,
    split: StagedSplit,
    build: Callable[[], Make],
    read: Callable[[Path], object],
    *,
    videos: Sequence[Video] | None = None,
    suffix: str = ".parquet",
) -> list[Path]:
    """Makes the pieces that an interrupted run has not left whole; returns all files, in the order of the videos.

    Args:
        name: of the work among the step's, for its folder and for people.
        build: makes, in each process, the function that makes a piece from a video's number; picklable.
        read: reads a piece; raises InputError where it is not what was written.
        videos: those of the split that are worked on; None: all.
        suffix: of the files.

    Raises:
        GlusError: as `make_missing` and `StepPieces.require_all` do.
    """
    videos = list(split.videos.values()) if videos is None else videos
    names = tuple(
        piece_name(number, video, split.expressions[video.video_id], context.work.name, suffix)
        for number, video in enumerate(videos)
    )
    devices = int(context.step.devices and context.config.compute.device != "cpu")
    pieces = StepPieces(context.work / "pieces" / name, names, build, devices)
    _remove_damaged(pieces, read)
    waiting = len(pieces.missing())
    made = make_missing(pieces, context.config.compute)
    for _ in context.progress(made, f"videos of {name}", total=len(names), done=len(names) - waiting):
        pass
    return pieces.require_all()


def _remove_damaged(pieces: StepPieces, read: Callable[[Path], object]) -> None:
    """Else whoever starts the step again, as the error says, would meet the same piece again."""
    missing = set(pieces.missing())
    for number, name in enumerate(pieces.names):
        if number not in missing:
            try:
                read(pieces.folder / name)
            except InputError as error:
                logger.warning("%s", f"What an interrupted run had finished is damaged, and is made again: {error}")
                (pieces.folder / name).unlink()
