"""What the scores of a clip have in common is read once: the context, and behind it each query frame.

All images of a prompt come before its expression, so frames with the same context differ from the target image on,
and expressions only after it. Sharing is exact up to the order of sums (reference on the selector, section 6).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


def context_groups(num_frames: int, max_context_frames: int) -> list[range]:
    """Frames that share a context, which are the frames of that context themselves (published evaluation).

    The context of frame q are the frames congruent to q modulo ceil(T / max_context_frames), q among them.
    """
    stride = math.ceil(num_frames / max_context_frames)
    return [range(offset, num_frames, stride) for offset in range(stride)]


class SharedLayer(DynamicLayer):
    """Keys and values of one layer for continuations of what another one holds.

    What is continued is kept once. Its copies, one for each continuation, live only while their layer is computed.

    Args:
        trunk: what is continued; None for a beginning.
        times: continuations of each row of the trunk, one after the other.
    """

    def __init__(self, trunk: SharedLayer | None = None, times: int = 1) -> None:
        super().__init__()
        self._trunk, self._times = trunk, times

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keeps new keys and values [rows, heads, length, width]; returns all of them, the trunk's in front."""
        super().update(key_states, value_states, *args, **kwargs)
        return self._whole()

    def get_seq_length(self) -> int:
        """Tokens along one branch."""
        own = super().get_seq_length()
        return own if self._trunk is None else self._trunk.get_seq_length() + own

    def _whole(self) -> tuple[Tensor, Tensor]:
        assert self.keys is not None and self.values is not None
        if self._trunk is None:
            return self.keys, self.values
        keys, values = (part.repeat_interleave(self._times, dim=0) for part in self._trunk._whole())
        return torch.cat([keys, self.keys], dim=-2), torch.cat([values, self.values], dim=-2)


class SharedCache(Cache):
    """What a language model keeps of tokens that several continuations share."""

    def __init__(self, layers: list[SharedLayer]) -> None:
        super().__init__(layers=[*layers])
        self._shared = layers

    @classmethod
    def empty(cls, num_layers: int) -> SharedCache:
        """For a beginning."""
        return cls([SharedLayer() for _ in range(num_layers)])

    def continued(self, times: int) -> SharedCache:
        """For `times` continuations of each row of this one, which stays as it is."""
        return SharedCache([SharedLayer(layer, times) for layer in self._shared])
