"""A short film of an answer for a page: its rows of masks side by side, as a picture that moves (animated WebP)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from glus.reporting.overlays import overlay
from glus.reporting.palette import PAPER, Colour

MOST_FRAMES = 24
WIDTH_PX = 240  # of each of the pictures that stand side by side
GAP_PX = 8
FRAME_MS = 200
QUALITY = 45


def film_frames(num_frames: int) -> list[int]:
    """The frames that are shown: all, or as many at equal distances as a page should hold."""
    return sorted(set(np.linspace(0, num_frames - 1, min(MOST_FRAMES, num_frames)).round().astype(int).tolist()))


def write_short_film(frames: Iterable[np.ndarray], sides: Sequence[tuple[np.ndarray, Colour]], path: Path) -> None:
    """Writes the film, which begins again at its end.

    Args:
        frames: N pictures, uint8 [H, W, 3].
        sides: what stands side by side: masks, bool [N, H, W], and their colour.
        path: the file (`.webp`).
    """
    pictures = [
        _side_by_side([overlay(frame, [masks[at]], [colour], WIDTH_PX) for masks, colour in sides])
        for at, frame in enumerate(frames)
    ]
    first, *rest = pictures
    first.save(path, save_all=True, append_images=rest, duration=FRAME_MS, loop=0, quality=QUALITY)


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    width, height = pictures[0].size
    whole = Image.new("RGB", (len(pictures) * (width + GAP_PX) - GAP_PX, height), PAPER)
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number * (width + GAP_PX), 0))
    return whole
