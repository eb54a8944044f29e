"""The frames of a video that are segmented."""

from __future__ import annotations

from glus.errors import InputError
from glus.media.sources import FrameSource
from glus.segmenting.requests import SegmentRequest


def cut(frames: FrameSource, request: SegmentRequest) -> FrameSource:
    """The frames that a request takes.

    Raises:
        InputError: its span holds no frame.
    """
    first, end = request.bounds()
    stop = min(len(frames) if end is None else end, len(frames))
    if first >= stop:
        raise InputError(f"--frames {request.span} holds no frame; the video has {len(frames)}.")
    return frames[first : stop : request.every]


def place_of(clip: FrameSource, key_frame: int) -> int:
    """Where a frame of the video stands among those that are taken.

    Raises:
        InputError: it is not among them.
    """
    taken = clip.indices
    if key_frame not in taken:
        step = f", every {taken.step}th" if taken.step > 1 else ""
        raise InputError(f"--key-frame {key_frame}: the frames are {taken[0]} to {taken[-1]}{step}.")
    return taken.index(key_frame)
