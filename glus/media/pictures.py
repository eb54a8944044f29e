"""One picture as its viewers show it: upright, RGB with 8 bits a channel; the rule of all readers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from glus.errors import InputError, plain_words
from glus.masks import UNDECODABLE
from glus.media.orientation import exif_orientation, swaps_sides, upright

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
READABLE = ("RGB", "L", "1", "P")  # modes that RGB loses nothing of
WITH_ALPHA = ("RGBA", "LA", "PA")
TWO_IN_ONE = "MPO"  # a JPEG with a second picture behind it, as some cameras write them


class Picture(NamedTuple):
    """A picture that was decoded to its end.

    Attributes:
        image: RGB, upright.
        kind: what the file holds: `JPEG RGB`.
        orientation: as EXIF counts it; 1 is upright, others were turned or mirrored.
    """

    image: Image.Image
    kind: str
    orientation: int


def read_frame(path: Path) -> Image.Image:
    """Reads one frame completely, upright, as RGB.

    Raises:
        InputError: as for `read_picture`.
    """
    return read_picture(path).image


def read_picture(path: Path) -> Picture:
    """Reads one picture and what its file says about it.

    Raises:
        InputError: the file is missing or empty, or as for `decode_picture`.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    return decode_picture(content, str(path))


def decode_picture(content: bytes, name: str) -> Picture:
    """Decodes the bytes of a picture to their end.

    Args:
        name: of the file, for messages.

    Raises:
        InputError: empty, truncated or damaged, an animation, or as for `shown_as_rgb`.
    """
    if not content:
        raise InputError(f"{name} is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # a PNG's checksums, which decoding does not look at
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            num_pictures, kind = getattr(image, "n_frames", 1), f"{image.format} {image.mode}"
            if num_pictures > 1 and image.format != TWO_IN_ONE:
                raise InputError(f"{name} is an animation of {num_pictures} pictures, expected one picture")
            return Picture(shown_as_rgb(image, name), kind, exif_orientation(image))
    except UNDECODABLE as problem:
        text = f"{name} cannot be decoded completely ({plain_words(problem)}): a truncated or damaged picture"
        raise InputError(text) from problem


class Header(NamedTuple):
    """What a picture's file says before its pixels; `kind` and `orientation` as of a `Picture`.

    Attributes:
        size: height and width in pixels, as viewers show it.
    """

    size: tuple[int, int]
    kind: str
    orientation: int


def read_header(path: Path, name: str) -> Header:
    """Reads no more of a picture than its header.

    Args:
        name: of the file, for messages.

    Raises:
        InputError: empty, or no picture.
    """
    try:
        with Image.open(path) as image:
            orientation = exif_orientation(image)
            height, width = image.size if swaps_sides(orientation) else image.size[::-1]
            return Header((height, width), f"{image.format} {image.mode}", orientation)
    except UNDECODABLE as problem:
        if path.is_file() and not path.stat().st_size:
            raise InputError(f"{name} is empty (0 bytes)") from problem
        raise InputError(f"{name} is no picture that can be read ({plain_words(problem)})") from problem


def shown_as_rgb(image: Image.Image, name: str) -> Image.Image:
    """A picture turned as its EXIF orientation says, as RGB.

    Raises:
        InputError: a mode that RGB cannot hold without a choice (16 bits, CMYK), or pixels that one can see through.
    """
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise InputError(
                f"{name} is a picture of mode RGBA, expected RGB with 8 bits a channel: some of its pixels can be seen"
                " through, and what lies behind them is not known"
            )
    elif image.mode not in READABLE:
        raise InputError(f"{name} is a picture of mode {image.mode}, expected RGB with 8 bits a channel")
    return upright(image).convert("RGB")
