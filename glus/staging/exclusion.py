"""Videos that are left out of a split on purpose, such as those whose published masks are known to be misaligned."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from glus.staging.faults import Fault, error, warning
from glus.staging.raw import MaskDict, RawSplit


def leave_out(raw: RawSplit, patterns: Sequence[str]) -> None:
    """Takes the videos that a pattern names, and all that was found wrong with them, out of a split.

    Args:
        patterns: ids of videos, or shell patterns of them such as `TAO/*`; one that names no video is a fault.
    """
    for pattern in patterns:
        gone = {video.video_id for video in raw.videos if fnmatchcase(video.video_id, pattern)}
        gone |= {video_id for fault in raw.faults if (video_id := _video_of(fault)) and fnmatchcase(video_id, pattern)}
        if not gone:
            problem = f"stage.exclude names {pattern}, which is no video of {raw.file}"
            raw.faults.append(error(raw.file, "", problem, "Correct the name or remove it from stage.exclude"))
            continue
        _remove(raw, gone)
        problem = f"{len(gone)} videos are left out, as stage.exclude says: {pattern}"
        raw.faults.append(warning(raw.file, "", problem, "Counts and scores are those of the rest"))


def _video_of(fault: Fault) -> str | None:
    """The video that a list's fault is about, by its record (`video X`, `video X, expression 3`)."""
    return fault.record.removeprefix("video ").partition(", ")[0] if fault.record.startswith("video ") else None


def _remove(raw: RawSplit, gone: set[str]) -> None:
    raw.videos = [video for video in raw.videos if video.video_id not in gone]
    raw.expressions = [expression for expression in raw.expressions if expression.video_id not in gone]
    raw.faults = [fault for fault in raw.faults if _video_of(fault) not in gone]
    if isinstance(raw.masks, MaskDict):
        raw.masks = type(raw.masks).of(raw.masks.file, raw.expressions)
    elif raw.masks is not None:
        raw.masks = [folder for folder in raw.masks if folder.video_id not in gone]
