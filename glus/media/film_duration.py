"""How long a film says it is, compared with what was found in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import av
from av.container import InputContainer
from av.video.stream import VideoStream

# Containers with a header that tells the duration. Of others FFmpeg measures or estimates it.
ANNOUNCING = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "asf", "mxf")
FROM_ZERO = ("asf",)  # FFmpeg gives each stream the duration of the file there, whenever the stream begins
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
WIDE = 1.5  # of the usual distance of frames: one is missing
ALMOST_ONE = 0.9  # frames: times are rounded, in Matroska to milliseconds


def lost_at_the_end(container: InputContainer, stream: VideoStream, ends_s: Mapping[int, float], rate: Fraction) -> int:
    """How many frames are missing between the end of what was found and the end that the film announces.

    Args:
        ends_s: where the packets of each stream end.
        rate: frames per second.
    """
    if container.format.name not in ANNOUNCING:
        return 0
    announced = _stream_end_s(container, stream)
    if announced is not None:
        missing_s = announced - ends_s[stream.index]
    elif container.duration is not None:  # of the longest stream, which may be the sound; from 0 or from the start
        missing_s = container.duration / av.time_base - max(ends_s.values())
    else:
        return 0
    missing = missing_s * float(rate)
    return max(1, round(missing)) if missing >= ALMOST_ONE else 0


def without_frame(packets: Iterable[int], frames: Sequence[int]) -> list[int]:
    """Times for which there is a packet but no frame, although a wide gap says that one is missing.

    A second field has a packet of its own in some films; it comes within the time of its frame.

    Args:
        packets: presentation times of the packets, in any order.
        frames: presentation times of the frames, ascending.
    """
    gaps = [(second - first, first, second) for first, second in pairwise(frames)]
    usual = sorted(gap for gap, _, _ in gaps)[len(gaps) // 2] if gaps else 0
    wide = [(first, second) for gap, first, second in gaps if gap > WIDE * usual]
    return [time for time in sorted(packets) if any(first < time < second for first, second in wide)]


def _stream_end_s(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        begin = 0 if container.format.name in FROM_ZERO else stream.start_time or 0
        return float((begin + stream.duration) * stream.time_base)
    clock = _CLOCK.match(stream.metadata.get("DURATION", ""))  # Matroska
    return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]) if clock else None
