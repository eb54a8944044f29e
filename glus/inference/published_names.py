"""A fault of the published key-frame script, to be repeated on purpose: whose mask lies under which frame's name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from glus.inference.video import SegmentationResult


def published_sources(num_frames: int, anchor: int) -> list[int | None]:
    """For each frame, the frame whose mask the published script leaves under its name; None where there is no file.

    The forward pass names its i-th mask after frame i instead of `anchor + i`; the backward pass, which comes last,
    names its masks rightly (reference on GLUS, D3).
    """
    written: dict[int, int] = dict(enumerate(range(anchor, num_frames)))
    if anchor > 0:
        written |= {frame: frame for frame in range(anchor + 1)}
    return [written.get(frame) for frame in range(num_frames)]


def under_published_names(result: SegmentationResult) -> SegmentationResult:
    """Masks and what was generated, moved to the frames that the published script names; blank where it names none."""
    masks, generated = np.zeros_like(result.masks), np.zeros_like(result.seg_token_generated)
    for row, anchor in enumerate(result.key_frame_index):
        for frame, source in enumerate(published_sources(masks.shape[1], int(anchor))):
            if source is not None:
                masks[row, frame] = result.masks[row, source]
                generated[row, frame] = result.seg_token_generated[row, source]
    return replace(result, masks=masks, seg_token_generated=generated)
