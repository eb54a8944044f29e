"""Label Studio's run lengths of brushes (the format of @thi.ng/rle-pack): a stream of bits, most significant first.

32 bits say how many values follow, 5 bits their width less 1, and four times 4 bits the widths, less 1, that the counts
of blocks may have. A block is one bit (1: a value is repeated), 2 bits that choose the width of its count, the count
less 1, and its values: one, or as many as are counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glus.errors import InputError

CHANNELS = 4  # the brush is stored as the picture that a browser draws; its last channel is opacity
VALUE_BITS = 8


def decode_brush(content: Sequence[int], height_px: int, width_px: int) -> np.ndarray:
    """A brush as bool mask [H, W]: the pixels that are not wholly transparent.

    Args:
        content: bytes, 0 to 255.

    Raises:
        InputError: what is wrong with it, to be read after "the brush of ...".
    """
    if not content or not all(type(value) is int and 0 <= value <= 255 for value in content):
        raise InputError("holds no list of bytes from 0 to 255")
    bits = _Bits(np.unpackbits(np.array(content, dtype=np.uint8)))
    total, wanted = bits.read(32), height_px * width_px * CHANNELS
    if total != wanted:
        raise InputError(f"holds {total} values, expected {CHANNELS} for each of {width_px}x{height_px} pixels")
    if (width := bits.read(5) + 1) != VALUE_BITS:
        raise InputError(f"holds values of {width} bits, expected {VALUE_BITS}")
    count_widths = [bits.read(4) + 1 for _ in range(4)]
    values, done = np.zeros(total, dtype=np.uint8), 0
    while done < total:
        repeated = bits.read(1)
        count = bits.read(count_widths[bits.read(2)]) + 1
        if done + count > total:
            raise InputError(f"holds more than the {total} values that it announces")
        values[done : done + count] = bits.read(VALUE_BITS) if repeated else bits.read_values(count)
        done += count
    return values.reshape(height_px, width_px, CHANNELS)[..., -1] > 0


class _Bits:
    """A stream of bits, uint8 [N]."""

    def __init__(self, bits: np.ndarray) -> None:
        self._bits = bits
        self._at = 0

    def read(self, width: int) -> int:
        """A number of so many bits."""
        return int("".join(map(str, self._take(width).tolist())), 2)

    def read_values(self, count: int) -> np.ndarray:
        """So many bytes."""
        return np.packbits(self._take(count * VALUE_BITS))

    def _take(self, width: int) -> np.ndarray:
        if self._at + width > len(self._bits):
            raise InputError("ends early")
        self._at += width
        return self._bits[self._at - width : self._at]
