"""A film file opened for reading, and the one of its streams that a player shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from glus.errors import InputError

# Containers that hold their frames themselves: no play lists or scripts, which name other files and addresses.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "gif",
    "apng", "mxf", "nut", "ivf", "h264", "hevc", "m4v", "obu", "dv", "yuv4mpegpipe",
)  # fmt: skip
OPTIONS = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


@contextmanager
def film_container(path: Path) -> Iterator[InputContainer]:
    """Opens a film.

    Raises:
        InputError: it is none, or one that FFmpeg cannot read.
    """
    try:
        with av.open(str(path.absolute()), options=OPTIONS, metadata_errors="replace") as container:
            yield container
    except (av.error.FFmpegError, OSError) as problem:
        raise InputError(f"{path} cannot be read as a film ({problem.strerror}).") from problem


def shown_stream(container: InputContainer, path: Path) -> VideoStream:
    """The video stream that players choose: one marked as default before others, then the largest, then the first.

    Raises:
        InputError: there is none.
    """
    streams = [stream for stream in film_streams(container) if stream.codec_context is not None]
    if not streams:
        raise InputError(f"{path} holds no film: {_inventory(container)}.")
    return max(streams, key=lambda stream: (_is_default(stream), stream.width * stream.height))


def film_streams(container: InputContainer) -> list[VideoStream]:
    """All video streams but covers and thumbnails."""
    return [stream for stream in container.streams.video if not stream.disposition & NO_FILM]


def _is_default(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.default)


def _inventory(container: InputContainer) -> str:
    kinds = sorted({"a cover picture" if stream.type == "video" else str(stream.type) for stream in container.streams})
    return f"found only {', '.join(kinds)}" if kinds else "it has no streams"
