"""A fault of the published key-frame script, to be repeated on purpose: whose mask lies under which frame's name."""

from __future__ import annotations


def published_sources(num_frames: int, key_frame: int) -> list[int | None]:
    """For each frame, the frame whose mask the published script leaves under its name; None where there is no file.

    The forward pass names its i-th mask after frame i instead of `key_frame + i`; the backward pass, which comes last,
    names its masks rightly (reference on GLUS, D3).
    """
    written: dict[int, int] = dict(enumerate(range(key_frame, num_frames)))
    if key_frame > 0:
        written |= {frame: frame for frame in range(key_frame + 1)}
    return [written.get(frame) for frame in range(num_frames)]
