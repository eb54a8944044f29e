"""Memory that is freed goes back to the system."""

from __future__ import annotations

import ctypes
import sys

LARGE = 4 << 20  # bytes; activations of a 7B model on the CPU are larger, what is made most often is smaller
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h


def return_large_blocks() -> None:
    """Lets glibc give every large block back as soon as it is freed, for the rest of this process.

    Else it takes blocks of up to 32 MiB from its heap, where activations that are kept stand between those that are
    freed, so that it cannot shrink: after the forward pass at 7B, 3.2 GiB stayed free and taken. Other C libraries
    are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(_MMAP_THRESHOLD, LARGE)
