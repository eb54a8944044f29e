"""Masks drawn over frames, and strips of several frames with the expression under them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from glus.reporting.palette import COLOURS, FAINT, INK, PAPER, Colour

logger = logging.getLogger(__name__)

TILE_PX = 200  # width of a frame in a strip
OPACITY = 0.3  # low enough that an object's own colour can still be told


@dataclass(frozen=True)
class StripRow:
    """One row of a strip.

    Attributes:
        label: what the row shows.
        masks: bool [N, H, W], one for each frame of the strip.
        colour: of the tint and the outline.
        notes: a few characters under each frame.
    """

    label: str
    masks: np.ndarray
    colour: Colour
    notes: Sequence[str]


@cache
def font(size_px: int, bold: bool = False, text: str = "") -> ImageFont.FreeTypeFont:
    """The typeface of all pictures, or the font of this system that lacks least of a text that it cannot write."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    file = str(Path(matplotlib.get_data_path()) / "fonts/ttf" / name)
    if _lacking(file, text):
        others = [other for other in sorted(font_manager.findSystemFonts()) if "LastResort" not in other]  # draws boxes
        file = min((file, *others), key=lambda other: len(_lacking(other, text)))
    if lacking := _lacking(file, text):
        shown = "".join(sorted(lacking)[:10])
        logger.warning("no font of this system has %s: drawn as boxes; install one for this script (Noto, say)", shown)
    return ImageFont.truetype(file, size_px)


def _lacking(file: str, text: str) -> set[str]:
    """The characters of a text that a font file has no picture of."""
    wanted = {letter for letter in text if letter.isprintable() and not letter.isspace()}
    try:
        return {letter for letter in wanted if ord(letter) not in _letters(file)}
    except (RuntimeError, OSError):  # no font that can be read
        return wanted


@cache
def _letters(file: str) -> frozenset[int]:
    return frozenset(FT2Font(file).get_charmap())


def overlay(
    frame: np.ndarray, masks: Sequence[np.ndarray], colours: Sequence[Colour], width_px: int | None = None
) -> Image.Image:
    """Tints masks over a frame and outlines them, within the outline by a thin white line.

    Args:
        frame: uint8 [H, W, 3].
        masks: bool [H, W] each.
        colours: one for each mask.
        width_px: width of the picture; the frame's own where None.
    """
    height, width = frame.shape[:2]
    picture = Image.fromarray(frame)
    size = (width, height) if width_px is None else (width_px, max(1, round(height * width_px / width)))
    pixels = np.array(picture.resize(size, Image.Resampling.BICUBIC))
    for mask, colour in zip(masks, colours, strict=True):
        shape = _resized(mask, size)
        draw_mask(pixels, shape, colour)
        _draw_light_edge(pixels, shape)
    return Image.fromarray(pixels)


def draw_mask(pixels: np.ndarray, mask: np.ndarray, colour: Colour) -> None:
    """Tints a mask in a picture, in place, and outlines it.

    Args:
        pixels: uint8 [H, W, 3], each row in one piece.
        mask: bool [H, W].
    """
    rows, columns = _box(mask)
    shape = mask[rows, columns]
    whole: np.ndarray = pixels[rows, columns].view("V3")[..., 0]  # each pixel as one value: indexed three times as fast
    own = whole[shape].view(np.uint8).reshape(-1, 3) * np.float32(1 - OPACITY)
    whole[shape] = (
        (own + np.float32(OPACITY) * np.array(colour, np.float32) + np.float32(0.5)).astype(np.uint8).view("V3")[:, 0]
    )
    line = _outline_px(pixels)
    whole[shape & ~_eroded(shape, line)] = np.array(colour, np.uint8).view("V3")


def _draw_light_edge(pixels: np.ndarray, mask: np.ndarray) -> None:
    """A thin white line within the outline, so that it is seen where its colour is not: in black and white."""
    rows, columns = _box(mask)
    inner = _eroded(mask[rows, columns], _outline_px(pixels))
    pixels[rows, columns][inner & ~_eroded(inner, 1)] = PAPER


def _outline_px(pixels: np.ndarray) -> int:
    return max(1, round(pixels.shape[1] / 80))


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold a mask, and one more on each side where there is one."""
    spans = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(0, int(used[0]) - 1), int(used[-1]) + 2) if len(used) else slice(0, 1))
    return spans[0], spans[1]


def _eroded(shape: np.ndarray, steps: int) -> np.ndarray:
    """What is further than some steps (up, down, left, right) from all that is not in a shape.

    `scipy.ndimage.binary_erosion(shape, iterations=steps, border_value=1)` in fewer passes: what is left after n steps
    is looked at up to n steps away.
    """
    done, left = 0, shape
    while done < steps:
        away = min(max(done, 1), steps - done)
        before, left = left, left.copy()
        left[away:] &= before[:-away]
        left[:-away] &= before[away:]
        left[:, away:] &= before[:, :-away]
        left[:, :-away] &= before[:, away:]
        done += away
    return left


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size[::-1]:
        return mask
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) >= 128


def draw_strip(frames: Sequence[np.ndarray], rows: Sequence[StripRow], text: str, marked: int | None) -> Image.Image:
    """Draws rows of masks over the same frames, one column per frame, with the expression under them.

    Args:
        frames: uint8 [H, W, 3] each.
        rows: drawn from top to bottom.
        text: the expression.
        marked: column that is framed in the first row (the key frame).
    """
    gap, label_px, note_px, text_px = 8, 108, 24, 34
    tile_height = max(1, round(frames[0].shape[0] * TILE_PX / frames[0].shape[1]))
    row_height = tile_height + note_px
    typeface = font(20, text=text)
    lines = wrap(f"“{text}”", typeface, label_px + len(frames) * (TILE_PX + gap) - gap)
    size = (label_px + len(frames) * (TILE_PX + gap), len(rows) * (row_height + gap) + text_px * len(lines))
    strip = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(strip)
    for number, row in enumerate(rows):
        top = number * (row_height + gap)
        for line_number, line in enumerate(wrap(row.label, font(15), label_px - 12)):
            draw.text((0, top + 4 + 20 * line_number), line, FAINT, font(15))
        for column, (frame, mask, note) in enumerate(zip(frames, row.masks, row.notes, strict=True)):
            left = label_px + column * (TILE_PX + gap)
            strip.paste(overlay(frame, [mask], [row.colour], TILE_PX), (left, top))
            is_marked = column == marked and number == 0
            if is_marked:
                draw.rectangle((left, top, left + TILE_PX - 1, top + tile_height - 1), outline=COLOURS[2], width=4)
            draw.text((left, top + tile_height + 4), note, INK if is_marked else FAINT, font(14, is_marked))
    for line_number, line in enumerate(lines):
        draw.text((label_px, size[1] - text_px * (len(lines) - line_number) + 2), line, INK, typeface)
    return strip


def draw_frames(frames: Sequence[np.ndarray], notes: Sequence[str]) -> Image.Image:
    """Frames side by side, uint8 [H, W, 3] each, as large as in a strip, a note under each."""
    gap, note_px = 8, 24
    height = max(1, round(frames[0].shape[0] * TILE_PX / frames[0].shape[1]))
    picture = Image.new("RGB", (len(frames) * (TILE_PX + gap) - gap, height + note_px), PAPER)
    draw = ImageDraw.Draw(picture)
    for column, (frame, note) in enumerate(zip(frames, notes, strict=True)):
        left = column * (TILE_PX + gap)
        picture.paste(overlay(frame, [], [], TILE_PX), (left, 0))
        draw.text((left, height + 4), note, FAINT, font(14))
    return picture


def wrap(text: str, typeface: ImageFont.FreeTypeFont, width_px: int) -> list[str]:
    """Breaks a text into lines that fit; a word that is too long stands alone."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and typeface.getlength(longer) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
