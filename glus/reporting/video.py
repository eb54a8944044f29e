"""Overlay videos: every expression's mask in its own colour over the film, at the film's own size, times and length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageDraw

from glus.reporting.overlays import draw_mask, font, wrap
from glus.reporting.palette import INK, PAPER, Colour, colour_of
from glus.reporting.sound import sound_of

TICKS_PER_S = 60_000  # whole numbers of them for the usual rates; MPEG-4 allows no more than 65,535
LONGEST_SIDE = 16384  # pixels; of H.264, as x264 writes it
USUAL_RATE = 10  # frames per second of frames without a clock
TALLEST_CAPTION = 1 / 3  # of the picture; a caption that needs more is left out
CAPTION_OPACITY = 0.75


class OverlayVideo:
    """An overlay video that is being written, frame after frame; made by `overlay_video`.

    Attributes:
        sound: packets of its sound that are not written yet.
    """

    sound: Iterator[Packet] = iter(())

    def __init__(self, container: av.container.OutputContainer, size: tuple[int, int], texts: Sequence[str]) -> None:
        self._container = container
        self._stream = _add_stream(container, size)
        self._converter = VideoReformatter()
        self._colours = [colour_of(number) for number in range(len(texts))]
        self._caption = _caption(texts, size)
        self._durations: dict[int | None, int] = {}  # ticks that each frame is shown, by its presentation time

    def add(
        self, picture: Image.Image, masks: np.ndarray, begin_s: float, end_s: float, *, marked: Sequence[int] = ()
    ) -> None:
        """Adds a frame that is shown from `begin_s` to `end_s`.

        Args:
            picture: RGB, of the video's size.
            masks: bool [B, H, W], one for each expression.
            marked: expressions whose key frame this is; it gets a frame in their colours.
        """
        self._mux_sound(begin_s)
        pixels = np.array(picture)
        for mask, colour in zip(masks, self._colours, strict=True):
            draw_mask(pixels, mask, colour)
        _mark(pixels, [self._colours[number] for number in marked])
        if self._caption is not None:
            caption, opacity = self._caption
            below = pixels[-len(caption) :]
            below[:] = below * (1 - opacity) + caption
        drawn = av.VideoFrame.from_ndarray(pixels)
        frame = self._converter.reformat(drawn, format=self._stream.pix_fmt, threads=1)
        begin = round(begin_s * TICKS_PER_S)
        frame.pts, frame.time_base = begin, Fraction(1, TICKS_PER_S)
        self._durations[begin] = round(end_s * TICKS_PER_S) - begin
        self._mux(frame)

    def finish(self) -> None:
        """Writes what the encoder still holds, and the rest of the sound."""
        self._mux(None)
        self._mux_sound(float("inf"))

    def _mux_sound(self, until_s: float) -> None:
        """Writes sound up to a time, so that pictures and sound of one time lie together in the file."""
        for packet in self.sound:
            self._container.mux(packet)
            if packet.dts is not None and float(packet.dts * packet.time_base) > until_s:
                return

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            packet.duration = self._durations.pop(packet.pts)  # the encoder forgets it
            self._container.mux(packet)


@contextmanager
def overlay_video(
    path: Path,
    size: tuple[int, int],
    texts: Sequence[str],
    *,
    sound: Path | None = None,
    part: tuple[float, float] = (0, float("inf")),
) -> Iterator[OverlayVideo]:
    """Writes an mp4 (H.264 where the installed FFmpeg has an encoder for it, else MPEG-4), renamed when complete.

    Args:
        path: the video; its folder is made.
        size: width and height, pixels.
        texts: expressions, shown in the picture in their masks' colours where there is room for them.
        sound: film whose sound is copied.
        part: begin and end of the part of that film that the video shows, seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.part.mp4")
    try:
        with av.open(str(aside.absolute()), "w", format="mp4") as container:  # `10:30.mp4` alone names a protocol
            video = OverlayVideo(container, size, texts)
            with sound_of(sound, container, *part) as video.sound:
                yield video
                video.finish()
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_overlay_video(
    frames: Iterable[Image.Image] | np.ndarray,
    masks: np.ndarray,
    texts: Sequence[str],
    path: Path,
    *,
    times_s: Sequence[float] | None = None,
    end_s: float | None = None,
) -> None:
    """Writes the overlay video of a whole clip.

    Args:
        frames: T pictures, RGB, or uint8 [T, H, W, 3].
        masks: bool [B, T, H, W].
        texts: B expressions.
        path: see `overlay_video`.
        times_s: when each frame is shown; ten frames per second where None.
        end_s: when the last frame stops being shown; needed with `times_s`.

    Raises:
        ValueError: numbers of masks, texts and times disagree.
    """
    num_frames, height, width = masks.shape[1:]
    if times_s is None or end_s is None:
        times_s, end_s = [index / USUAL_RATE for index in range(num_frames)], num_frames / USUAL_RATE
    if len(masks) != len(texts) or len(times_s) != num_frames:
        raise ValueError(f"masks {masks.shape}, {len(texts)} texts and {len(times_s)} times do not fit together")
    with overlay_video(path, (width, height), texts) as video:
        spans = pairwise([*times_s, end_s])
        for picture, of_frame, (begin, end) in zip(frames, masks.swapaxes(0, 1), spans, strict=True):
            shown = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
            video.add(shown, of_frame, begin, end)


def _add_stream(container: av.container.OutputContainer, size: tuple[int, int]) -> av.VideoStream:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=Fraction(TICKS_PER_S))
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height = size
    stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
    odd = size[0] % 2 or size[1] % 2
    stream.pix_fmt = "yuv444p" if odd and codec == "libx264" else "yuv420p"  # halved colours want even sides
    stream.codec_context.max_b_frames = 0  # so that the file says the length of its last frame
    stream.codec_context.thread_count = 1  # so that its bytes do not depend on the machine's cores
    # x264's macroblock tree reads memory that nothing has written, so its bytes would differ at times; without it a crf
    # one higher gives files of the same size
    x264: dict[str, object] = {"crf": "21", "preset": "veryfast", "x264-params": "mbtree=0"}
    stream.options = x264 if codec == "libx264" else {"qscale": "3"}
    return stream


def _mark(pixels: np.ndarray, colours: Sequence[Colour]) -> None:
    """Frames a picture, uint8 [H, W, 3], in colours, the first one outermost."""
    height, width = pixels.shape[:2]
    line = max(2, width // 100)
    for number, colour in enumerate(colours):
        inset = number * line
        inner = pixels[inset : height - inset, inset : width - inset]
        if min(inner.shape[:2]) > 2 * line + 1:
            for edge in (inner[:line], inner[-line:], inner[:, :line], inner[:, -line:]):
                edge[:] = colour


def _caption(texts: Sequence[str], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """The expressions in one column, each beside a square of its colour, as wide as the video.

    Returns:
        What is added, float32 [h, W, 3], rounding included, and how opaque it is, float32 [h, W, 1]; None: no room.
    """
    width, height = size
    letters = max(12, width // 45)
    margin, step = letters // 2, round(letters * 1.4)
    indent, typeface = 2 * margin + letters, font(letters, text="".join(texts))
    lines = [
        (line, number if first == 0 else None)
        for number, text in enumerate(texts)
        for first, line in enumerate(wrap(text, typeface, width - indent - margin))
    ]
    picture = Image.new("RGBA", (width, margin + step * len(lines)), (*PAPER, round(255 * CAPTION_OPACITY)))
    if picture.height > TALLEST_CAPTION * height:
        return None
    draw = ImageDraw.Draw(picture)
    for row, (line, number) in enumerate(lines):
        top = margin // 2 + row * step
        if number is not None:
            draw.rectangle((margin, top + 2, margin + letters, top + 2 + letters), colour_of(number))
        draw.text((indent, top), line, INK, typeface)
    drawn = np.asarray(picture, dtype=np.float32)
    opacity = drawn[..., 3:] / 255
    return drawn[..., :3] * opacity + 0.5, opacity
