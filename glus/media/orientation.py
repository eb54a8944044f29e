"""The eight ways in which a stored picture can be turned and mirrored to be shown."""

from __future__ import annotations

import struct

from PIL import ExifTags, Image

Turn = Image.Transpose | None

# by EXIF's number
_EXIF: dict[int, Turn] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# by the signs of a, b, c, d of a film's display matrix: a stored pixel (x, y) is shown at (a x + c y, b x + d y)
_MATRIX: dict[tuple[int, int, int, int], Turn] = {
    (1, 0, 0, 1): None,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
}
ALMOST = 0.02  # of the matrix's largest entry: rounding of writers, about one degree
SWAPPING = frozenset(_EXIF[number] for number in (5, 6, 7, 8))  # those that exchange width and height


def exif_orientation(image: Image.Image) -> int:
    """The orientation that a picture's EXIF data give, 1 to 8; 1 (upright) where there are none that can be read."""
    try:
        number = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error):
        return 1
    return number if number in _EXIF else 1


def swaps_sides(orientation: int) -> bool:
    """Whether a picture of an EXIF orientation is shown as high as it is stored wide."""
    return _EXIF.get(orientation) in SWAPPING


def upright(image: Image.Image) -> Image.Image:
    """A picture turned as its EXIF data say."""
    return turned(image, _EXIF.get(exif_orientation(image)))


def turned(image: Image.Image, turn: Turn) -> Image.Image:
    """A picture after a turn."""
    return image if turn is None else image.transpose(turn)


def matrix_turn(matrix: bytes) -> Turn:
    """The turn of a film's display matrix, nine int32 (ISO/IEC 14496-12, 8.3.2).

    Raises:
        ValueError: it turns by something else than quarters, or shears.
    """
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
    largest = max(map(abs, (a, b, c, d)))
    if not largest:
        return None
    signs = tuple(0 if abs(entry) < ALMOST * largest else (1 if entry > 0 else -1) for entry in (a, b, c, d))
    if signs not in _MATRIX:
        raise ValueError(f"display matrix {a}, {b}, {c}, {d}")
    return _MATRIX[signs]
