"""Masks drawn over frames, and strips of several frames with the expression under them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

logger = logging.getLogger(__name__)

Colour = tuple[int, int, int]

# Apart from each other, and from the plain red, green, blue and yellow of the synthetic clips.
COLOURS: tuple[Colour, ...] = (
    (232, 42, 148),
    (0, 184, 217),
    (255, 139, 0),
    (124, 77, 255),
    (0, 200, 130),
    (190, 120, 60),
)
GOLDEN_ANGLE = 0.381966  # of a turn
TRUTH_COLOUR: Colour = (255, 255, 255)
INK: Colour = (28, 32, 41)
FAINT: Colour = (112, 119, 133)
PAPER: Colour = (255, 255, 255)
OPACITY = 0.3  # low enough that an object's own colour can still be told


def colour_of(number: int) -> Colour:
    """A colour for each number: those above, then hues that lie apart by the golden angle."""
    if number < len(COLOURS):
        return COLOURS[number]
    red, green, blue = hsv_to_rgb(number * GOLDEN_ANGLE % 1, 0.6 + 0.3 * (number % 2), 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


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
    """Tints masks over a frame and outlines them.

    Args:
        frame: uint8 [H, W, 3].
        masks: bool [H, W] each.
        colours: one for each mask.
        width_px: width of the picture; the frame's own where None.
    """
    height, width = frame.shape[:2]
    picture = Image.fromarray(frame)
    size = (width, height) if width_px is None else (width_px, max(1, round(height * width_px / width)))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    shapes = [_resized(mask, size) for mask in masks]
    box = _box(shapes)
    pixels = np.array(picture)
    region = pixels[box].astype(np.float32)
    line = max(1, round(size[0] / 80))
    for whole, colour in zip(shapes, colours, strict=True):
        shape = whole[box]
        region[shape] += OPACITY * (np.array(colour, dtype=np.float32) - region[shape])
        region[shape & ~binary_erosion(shape, iterations=line, border_value=1)] = colour
    pixels[box] = region.round()
    return Image.fromarray(pixels)


def _box(shapes: Sequence[np.ndarray]) -> tuple[slice, slice]:
    """Rows and columns that hold all shapes, and one more on each side where there is one."""
    drawn = np.logical_or.reduce(shapes) if shapes else np.zeros((0, 0), dtype=bool)
    spans = []
    for axis in (1, 0):
        used = np.flatnonzero(drawn.any(axis=axis))
        spans.append(slice(max(0, used[0] - 1), used[-1] + 2) if len(used) else slice(0, 0))
    return spans[0], spans[1]


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size[::-1]:
        return mask
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) >= 128


def draw_strip(
    frames: Sequence[np.ndarray], rows: Sequence[StripRow], text: str, marked: int | None = None, tile_px: int = 200
) -> Image.Image:
    """Draws rows of masks over the same frames, one column per frame, with the expression under them.

    Args:
        frames: uint8 [H, W, 3] each.
        rows: drawn from top to bottom.
        text: the expression.
        marked: column that is framed in the first row (the key frame).
        tile_px: width of a frame in the strip.
    """
    gap, label_px, note_px, text_px = 8, 108, 24, 34
    tile_height = max(1, round(frames[0].shape[0] * tile_px / frames[0].shape[1]))
    row_height = tile_height + note_px
    typeface = font(20, text=text)
    lines = wrap(f"“{text}”", typeface, label_px + len(frames) * (tile_px + gap) - gap)
    size = (label_px + len(frames) * (tile_px + gap), len(rows) * (row_height + gap) + text_px * len(lines))
    strip = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(strip)
    for number, row in enumerate(rows):
        top = number * (row_height + gap)
        for line_number, line in enumerate(wrap(row.label, font(15), label_px - 12)):
            draw.text((0, top + 4 + 20 * line_number), line, FAINT, font(15))
        for column, (frame, mask, note) in enumerate(zip(frames, row.masks, row.notes, strict=True)):
            left = label_px + column * (tile_px + gap)
            strip.paste(overlay(frame, [mask], [row.colour], tile_px), (left, top))
            is_marked = column == marked and number == 0
            if is_marked:
                draw.rectangle((left, top, left + tile_px - 1, top + tile_height - 1), outline=COLOURS[2], width=4)
            draw.text((left, top + tile_height + 4), note, COLOURS[2] if is_marked else FAINT, font(14, is_marked))
    for line_number, line in enumerate(lines):
        draw.text((label_px, size[1] - text_px * (len(lines) - line_number) + 2), line, INK, typeface)
    return strip


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
