"""Overlay videos: every expression's mask in its own colour, the expressions below the picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from glus.reporting.overlays import COLOURS, INK, PAPER, font, overlay, wrap

SMALLEST_WIDTH_PX = 384  # smaller frames are enlarged, so that the text can be read
MARGIN_PX = 12
BITS_PER_SECOND = 4_000_000


def write_overlay_video(
    frames: np.ndarray, masks: np.ndarray, texts: Sequence[str], path: Path, frames_per_second: float = 10
) -> None:
    """Writes an mp4 (H.264 where the installed FFmpeg has an encoder for it, else MPEG-4), renamed when complete.

    Args:
        frames: uint8 [T, H, W, 3].
        masks: bool [B, T, H, W].
        texts: B expressions, shown below the picture in their masks' colours.
        path: the video; its folder is made.
        frames_per_second: of the video.

    Raises:
        ValueError: numbers of frames, masks and texts disagree.
    """
    if masks.shape[1:] != frames.shape[:3] or len(masks) != len(texts):
        raise ValueError(f"frames {frames.shape}, masks {masks.shape} and {len(texts)} texts do not fit together")
    path.parent.mkdir(parents=True, exist_ok=True)
    width = max(frames.shape[2], SMALLEST_WIDTH_PX) // 2 * 2  # the encoders want even sides
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(texts))]
    caption = _caption(texts, width)
    aside = path.with_name(f".{path.stem}.part.mp4")
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(aside), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(frames_per_second).limit_denominator(1000))
        assert isinstance(stream, av.VideoStream)
        picture_height = max(1, round(frames.shape[1] * width / frames.shape[2]))
        stream.width, stream.height = width, (picture_height + len(caption)) // 2 * 2
        stream.pix_fmt, stream.bit_rate = "yuv420p", BITS_PER_SECOND
        for frame, of_frame in zip(frames, masks.swapaxes(0, 1), strict=True):
            picture = np.concatenate((np.asarray(overlay(frame, of_frame, colours, width)), caption))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture[: stream.height], format="rgb24")))
        container.mux(stream.encode())
    aside.replace(path)


def _caption(texts: Sequence[str], width: int) -> np.ndarray:
    """The expressions in one column, each beside a square of its colour, uint8 [h, width, 3]."""
    size = max(14, width // 40)
    typeface = font(size, text="".join(texts))
    indent = MARGIN_PX + size + size // 2
    lines = [
        (line, number if first == 0 else None)
        for number, text in enumerate(texts)
        for first, line in enumerate(wrap(text, typeface, width - indent - MARGIN_PX))
    ]
    step = round(size * 1.5)
    picture = Image.new("RGB", (width, (2 * MARGIN_PX + step * len(lines)) // 2 * 2), PAPER)
    draw = ImageDraw.Draw(picture)
    for row, (line, number) in enumerate(lines):
        top = MARGIN_PX + row * step
        if number is not None:
            draw.rectangle((MARGIN_PX, top + 2, MARGIN_PX + size, top + 2 + size), COLOURS[number % len(COLOURS)])
        draw.text((indent, top), line, INK, typeface)
    return np.asarray(picture)
