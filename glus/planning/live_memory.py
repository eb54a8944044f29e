"""How much memory the tensors of a computation take at once, without computing it: on torch's meta device."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

META = torch.device("meta")


class LiveMemory(TorchDispatchMode):
    """Follows the storages that operations make until they are freed.

    Args:
        model: its weights are not counted, nor are views of them.

    Attributes:
        live: bytes now.
        peak: most bytes at once.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.live = self.peak = 0
        held = chain(model.parameters(), model.buffers())
        self._known = {tensor.untyped_storage()._cdata for tensor in held}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and notes what it has made."""
        made = operation(*args, **(kwargs or {}))
        for tensor in tree_iter(made):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self._note(tensor.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


@contextmanager
def following(model: nn.Module) -> Iterator[LiveMemory]:
    """Within it, what operations on the meta device make is followed, the model's own weights left out.

    Attention is replaced by what runs on every other device: the meta device would make the whole matrix of scores. A
    mode of torch would not do, since layers that are computed again in the backward pass do not see it.
    """
    attention = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = _flash_attention
    try:
        with LiveMemory(model) as memory:
            yield memory
    finally:
        functional.scaled_dot_product_attention = attention


def _flash_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    if attn_mask is not None:
        attn_mask = torch.empty(attn_mask.shape, dtype=query.dtype, device=META)
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return attend(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
