"""What visual tokens show: the shares of their patches that masks cover."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def coverage(masks: Tensor, num_patches: int, tokens_per_frame: int) -> Tensor:
    """The share of each visual token that a mask covers, float [n, N * P].

    The geometry is that of CLIP's input (the centre square, see `glus.processing.transforms`) and of the pooling, which
    averages neighbours in raster order (paper 5.2).

    Args:
        masks: bool [n, N, H, W], of N frames.
        num_patches: of a frame, before pooling.
        tokens_per_frame: P, after it.
    """
    side = min(masks.shape[-2:])
    top, left = ((size - side) // 2 for size in masks.shape[-2:])
    square = masks[..., top : top + side, left : left + side].float()
    patches = functional.adaptive_avg_pool2d(square, math.isqrt(num_patches)).flatten(2)
    return torch.stack(patches.chunk(tokens_per_frame, dim=2), dim=2).mean(dim=3).flatten(1)
