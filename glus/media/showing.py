"""How a decoded frame of a film is shown: pixels made square, turned, in RGB."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.sidedata.sidedata import Type
from av.video.reformatter import VideoReformatter
from PIL import Image

from glus.media.orientation import SWAPPING, Turn, matrix_turn, turned


@dataclass(frozen=True)
class Showing:
    """What all frames of a film have in common.

    Attributes:
        coded: width and height of the decoded frames.
        square: the same with square pixels.
        turn: how it is turned to be shown.
    """

    coded: tuple[int, int]
    square: tuple[int, int]
    turn: Turn

    @classmethod
    def of(cls, frame: av.VideoFrame, pixel_aspect: Fraction | None) -> Showing:
        """Reads it from a frame and its stream's shape of a pixel (width to height).

        Raises:
            ValueError: the film is turned by something else than quarters.
        """
        coded = frame.width, frame.height
        matrix = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
        return cls(coded, _square(coded, pixel_aspect or Fraction(1)), matrix_turn(bytes(matrix)) if matrix else None)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown."""
        width, height = self.square
        return (height, width) if self.turn in SWAPPING else (width, height)

    def picture(self, frame: av.VideoFrame, converter: VideoReformatter) -> Image.Image:
        """The frame as it is shown.

        Args:
            converter: the same for all frames of the film; each frame would set up one of its own, with its threads.
        """
        width, height = self.square
        rgb = converter.reformat(frame, width, height, "rgb24", interpolation="BICUBIC", threads=1).to_ndarray()
        return turned(Image.fromarray(rgb), self.turn)


def _square(coded: tuple[int, int], pixel_aspect: Fraction) -> tuple[int, int]:
    """The side that is too short grows, as in browsers and mpv, so that no pixel is lost."""
    width, height = coded
    if pixel_aspect <= 0:
        return coded
    if pixel_aspect >= 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def can_be_seen_through(frame: av.VideoFrame) -> bool:
    """Whether a frame has pixels that are not opaque."""
    if not any(component.is_alpha for component in frame.format.components):
        return False
    return bool(frame.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)
