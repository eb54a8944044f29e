"""Context frames of a video (paper 4.1)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def segment_bounds(num_frames: int, num_segments: int) -> list[int]:
    """Boundaries of equal segments of a video, `num_segments + 1` of them."""
    return [int(bound) for bound in np.linspace(0, num_frames, num_segments + 1)]


def centre_context_frames(num_frames: int, num_context_frames: int) -> list[int]:
    """The middle frame of each of `num_context_frames` equal segments (inference).

    As published: close to, not exactly, the centre, and for very short videos an index of -1 is the last frame.
    """
    if not num_context_frames:
        return []
    bounds = segment_bounds(num_frames, num_context_frames)
    half = -(-num_frames // num_context_frames) // 2
    frames = [min(low + half, high - 1) for low, high in pairwise(bounds)]
    return [frame % num_frames for frame in frames]
