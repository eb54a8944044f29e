"""Small films and folders whose frames tell their number by the length of a white bar at the top."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT, NUM_FRAMES = 96, 64, 12
TICKS_PER_S = 12_000
# a, b, c, d of a display matrix, and what shows a picture that is stored so upright again
TURNS = {
    (1, 0, 0, 1): None,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}


def draw(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    picture = Image.new("RGB", (WIDTH, HEIGHT), (90, 110, 130))
    painter = ImageDraw.Draw(picture)
    painter.rectangle((0, 0, number * 8 + 4, 5), fill=(255, 255, 255))
    painter.ellipse((6 + number * 6, 24, 22 + number * 6, 40), fill=(220, 30, 30))
    painter.rectangle((4, 50, 14, 60), fill=(30, 60, 220))
    return picture.resize(size)


def number_of(picture: Image.Image) -> int:
    """The number that the bar of an upright frame tells."""
    return int((np.asarray(picture)[2].min(-1) > 200).sum()) // 8


def numbers_of(pictures: Iterable[Image.Image]) -> list[int]:
    return [number_of(picture) for picture in pictures]


def write_film(
    path: Path,
    pictures: Sequence[Image.Image] | None = None,
    *,
    codec: str = "libx264",
    rate: Fraction | int = 10,
    times_s: Sequence[float] | None = None,
    matrix: tuple[int, int, int, int] | None = None,
    pixel_aspect: Fraction | None = None,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """Encodes pictures; the drawn clip where none are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = pictures or [draw(number) for number in range(NUM_FRAMES)]
    tick = Fraction(1, TICKS_PER_S) if times_s else 1 / Fraction(rate)
    times_s = times_s or [float(index / rate) for index in range(len(pictures))]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *pictures[0].size, pixel_format
        stream.codec_context.time_base = tick
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if matrix:
            a, b, c, d = (entry * 65536 for entry in matrix)
            stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        for picture, time in zip(pictures, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture), "rgba" if picture.mode == "RGBA" else "rgb24")
            frame.pts, frame.time_base = round(time / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_folder(folder: Path, names: Sequence[str]) -> Path:
    """Frames 0, 1, ... under the given file names."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        draw(number).save(folder / name)
    return folder
