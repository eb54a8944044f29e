"""The frames of a video that are segmented."""

from __future__ import annotations

from glus.errors import InputError
from glus.media.sources import FrameSource
from glus.reporting.video import LONGEST_SIDE
from glus.segmenting.requests import SegmentRequest


def cut(frames: FrameSource, request: SegmentRequest) -> FrameSource:
    """The frames that a request takes.

    Raises:
        InputError: its span holds no frame, or no film can be made of frames so large.
    """
    width, height = frames.size
    if max(frames.size) > LONGEST_SIDE:
        raise InputError(
            f"{frames.name} is {width}x{height} pixels, but the film of its masks can have {LONGEST_SIDE} on a side at"
            " most; scale or cut it first."
        )
    first, end = request.bounds()
    stop = min(len(frames) if end is None else end, len(frames))
    if first >= stop:
        raise InputError(f"--frames {request.span} holds no frame; the video has {len(frames)}.")
    return frames[first : stop : request.every]


def key_frame_place(clip: FrameSource, request: SegmentRequest) -> int | None:
    """Where the key frame that is asked for stands among the frames that are taken.

    Raises:
        InputError: it is not among them.
    """
    if request.key_frame is None:
        return None
    taken = clip.indices
    if request.key_frame not in taken:
        step = f" in steps of {taken.step}" if taken.step > 1 else ""
        place = f"{request.key_frame_option} {request.key_frame}"
        raise InputError(f"{place}: the frames are {taken[0]} to {taken[-1]}{step}.")
    return taken.index(request.key_frame)
