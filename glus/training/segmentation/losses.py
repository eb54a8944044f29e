"""Losses of GLUS beside the contrastive one (paper 4.1, B.2; reference on GLUS, section 8)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

DICE_SCALE = 1000.0  # keeps half-precision sums in range; a fact of the published loss
DICE_SMOOTHING = 1e-6


def bce_per_mask(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy, mean over pixels: float [n, H, W] logits, targets [n, H, W] -> [n]."""
    loss = functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
    return loss.flatten(1).mean(dim=1)


def dice_per_mask(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of each mask: float [n, H, W] logits, targets [n, H, W] -> [n], 0..1 for targets 0 and 1."""
    probability = logits.float().sigmoid().flatten(1)
    target = targets.float().flatten(1)
    joint = 2 * (probability * target).sum(dim=1) / DICE_SCALE
    total = (probability.sum(dim=1) + target.sum(dim=1)) / DICE_SCALE
    return 1 - (joint + DICE_SMOOTHING) / (total + DICE_SMOOTHING)


def seg_cross_entropy(logits: Tensor, seg_id: int) -> Tensor:
    """Mean cross entropy of [SEG] at the positions that predict it: float [..., vocabulary] -> scalar."""
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(flat, torch.full((len(flat),), seg_id, device=flat.device))
