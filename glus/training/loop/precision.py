"""In which types weights are held while they are trained; autocast decides the type of the arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from torch import nn


def set_weight_types(module: nn.Module, trained: Iterable[nn.Parameter], precision: str) -> None:
    """Holds what is trained in float32: in 16 bits an update of AdamW is mostly lost in rounding.

    What is frozen keeps the type that it is stored in, which halves a 7B base; float16 becomes bfloat16, to which
    autocast would round it anyway (torch cannot mix the two). With float32 arithmetic nothing stays in 16 bits, so that
    a base needs twice its size on disk.

    Args:
        module: changed in place; parameters stay the same objects.
        trained: its parameters that some phase trains.
        precision: `float32` or `bfloat16`, of the arithmetic.
    """
    if precision == "float32":
        module.float()
    for parameter in trained:
        parameter.data = parameter.data.to(torch.float32, copy=True)  # not in the file that it may be mapped from
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.dtype == torch.float16:
            tensor.data = tensor.data.bfloat16()
