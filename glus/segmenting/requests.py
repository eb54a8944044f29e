"""What is asked of own videos: how they are segmented, and the forms that masks are written in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from glus.errors import InputError


class Format(StrEnum):
    """A form of the masks; `DESCRIPTIONS` says what it is."""

    PARQUET = "parquet"
    PNG = "png"
    PALETTE = "palette"
    COCO = "coco"
    CUTOUT = "cutout"


class Precision(StrEnum):
    """How exactly is computed; `PRECISIONS` says what each is."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    INT4 = "int4"


PRECISIONS = {
    Precision.FLOAT32: "as trained",
    Precision.BFLOAT16: "CLIP and the language model in 16 bits",
    Precision.INT8: "the same, and the language model's layers in 8 bits (needs bitsandbytes)",
    Precision.INT4: "in 4 bits (NF4)",
}
DESCRIPTIONS = {
    Format.PARQUET: "masks.parquet, run lengths with frame names and times; always written",
    Format.PNG: "masks/00/FRAME.png, 0 and 255, a folder for each sentence",
    Format.PALETTE: "palette/FRAME.png, all sentences in one indexed picture, the later one on top",
    Format.COCO: "coco.json, COCO's form for videos (YouTube-VIS)",
    Format.CUTOUT: "cutout/00/FRAME.png, the frame with all but the mask transparent",
}


@dataclass(frozen=True)
class SegmentRequest:
    """How videos are segmented.

    Attributes:
        model: folder of the model.
        selector: folder of a key-frame selector.
        span: `A:B`, the film's frames that are taken, B not included.
        every: of those, every n-th one.
        key_frame: number of the film's frame that segmentation starts from, both ways.
        window_stride: frames that a window of query frames answers for.
        precision: of the model and the selector.
        compiled: SAM-2's image encoder goes through `torch.compile`.
        formats: beside Parquet.
        key_frame_option: what the user calls the key frame; `--anchor` is its older name.
    """

    model: Path
    selector: Path | None = None
    span: str | None = None
    every: int = 1
    key_frame: int | None = None
    window_stride: int = 1
    precision: Precision = Precision.FLOAT32
    compiled: bool = False
    formats: tuple[Format, ...] = ()
    key_frame_option: str = "--key-frame"

    def __post_init__(self) -> None:
        """Checks what needs no video.

        Raises:
            InputError: two ways to choose a key frame, or a span that is none.
        """
        if self.selector is not None and self.key_frame is not None:
            raise InputError(f"--selector and {self.key_frame_option} exclude each other: both say where to start.")
        self.bounds()

    def bounds(self) -> tuple[int, int | None]:
        """The first frame, and the one behind the last; None: to the end."""
        if self.span is None:
            return 0, None
        first, colon, end = self.span.partition(":")
        if not colon or not all(part == "" or part.isdecimal() for part in (first, end)):
            raise InputError(f"--frames {self.span}: expected A:B, e.g. 10:50.")
        return int(first or 0), int(end) if end else None

    def parameters(self) -> dict[str, Any]:
        """What decides the masks, beside the video, the sentences and the weights."""
        first, end = self.bounds()
        return {
            "frames": [first, end],
            "every": self.every,
            "key_frame": self.key_frame,
            "window_stride": self.window_stride,
        }
