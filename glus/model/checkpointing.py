"""Activation checkpointing: layers keep what comes in, and compute the rest again when gradients flow back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def checkpoint_activations(layers: Iterable[nn.Module]) -> None:
    """Lets layers keep nothing but their inputs while gradients are recorded; bits, names and hooks stay the same.

    A layer that is given a cache is computed as it is: to do so twice would fill the cache twice, and what
    transformers does, to drop the cache, would change the result without a word.
    """
    for layer in layers:
        layer.forward = partial(_recomputed, layer.forward)


def _recomputed(forward: Callable[..., Tensor], *inputs: Any, past_key_values: Any = None, **options: Any) -> Tensor:
    if past_key_values is not None:
        return forward(*inputs, past_key_values=past_key_values, **options)
    if not torch.is_grad_enabled():
        return forward(*inputs, **options)
    return checkpoint(forward, *inputs, use_reentrant=False, **options)
