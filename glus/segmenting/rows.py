"""What is found in a frame, and the rows of `masks.parquet` that say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from glus.inference.session import SegmentedFrame
from glus.masks import encode_rle, stability
from glus.media.sources import FrameSource


@dataclass(frozen=True)
class FoundMask:
    """The mask of one sentence in one frame.

    Attributes:
        rle: COCO's compressed run lengths.
        area_px: pixels.
        seg_token_generated: whether [SEG] came.
        stability: IoU of the masks at the thresholds -1 and 1 of the logits.
    """

    rle: str
    area_px: int
    seg_token_generated: bool
    stability: float


def found_masks(frame: SegmentedFrame) -> Iterator[tuple[int, FoundMask]]:
    """Numbers of the sentences in their order, and what was found of each."""
    for number, mask, logits, generated in zip(
        frame.numbers, frame.masks, frame.logits, frame.seg_token_generated, strict=True
    ):
        yield number, FoundMask(encode_rle(mask), int(mask.sum()), bool(generated), stability(logits))


@dataclass(frozen=True)
class AskedRow:
    """What the rows of one sentence have in common.

    Attributes:
        number: of the sentence.
        text: the sentence.
        key_frame: place of the frame where it starts.
        selector_scores: of the selector, for each frame of the clip; None without a selector.
    """

    number: int
    text: str
    key_frame: int
    selector_scores: list[float] | None

    def of(self, clip: FrameSource, place: int, found: FoundMask) -> dict[str, Any]:
        """The row of one frame, a value for each column of the schema `segmented`.

        Args:
            place: of the frame in the clip.
        """
        width, height = clip.size
        return {
            "frame_index": clip.indices[place],
            "frame_name": clip.frame_names[place],
            "time_s": None if clip.times_s is None else clip.times_s[place],
            "sentence_number": self.number,
            "sentence": self.text,
            "height_px": height,
            "width_px": width,
            "rle_counts": found.rle,
            "area_px": found.area_px,
            "seg_token_generated": found.seg_token_generated,
            "is_key_frame": place == self.key_frame,
            "stability": found.stability,
            "selector_score": None if self.selector_scores is None else self.selector_scores[place],
        }
