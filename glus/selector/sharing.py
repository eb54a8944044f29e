"""Which frames of a clip share a context; what they share is read once, by `glus.model.sharing`.

All images of a prompt come before its expression, so frames with the same context differ from the target image on,
and expressions only after it (reference on the selector, section 6).
"""

from __future__ import annotations

import math


def context_groups(num_frames: int, max_context_frames: int) -> list[range]:
    """Frames that share a context, which are the frames of that context themselves (published evaluation).

    The context of frame q are the frames congruent to q modulo ceil(T / max_context_frames), q among them.
    """
    stride = math.ceil(num_frames / max_context_frames)
    return [range(offset, num_frames, stride) for offset in range(stride)]
