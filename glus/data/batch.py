"""The hand-over between data and model: one typed batch of clips.

Shapes: S clips, B expressions of all clips together, Nc context and Nq query frames, L positions, H W frame size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from glus.data.tokenizer import IMAGE_ID


@dataclass(frozen=True)
class TokenKey:
    """Which object at which time a [SEG] token speaks of (contrastive loss, 4.3)."""

    video_id: str
    expression_id: str
    frame_name: str
    object_ids: frozenset[str]


@dataclass(frozen=True)
class ClipBatch:
    """Clips with their conversations and ground truth.

    Attributes:
        clip_pixels: float [S, Nc + Nq, 3, h, w], input of the CLIP tower, context frames first.
        sam2_pixels: float [S, Nq, 3, S2, S2], input of SAM-2's image encoder.
        input_ids: int [B, L], right-padded, P times `IMAGE_ID` for each frame.
        attention_mask: bool [B, L].
        clip_of: int [B], the clip that an expression belongs to.
        seg_positions: int [B, Nq], positions that predict the [SEG] tokens (one before each).
        targets: one [n, Nq, H, W] for each clip, in the order of its n expressions: bool, or uint8 where annotations
            are summed as published.
        keys: Nq keys for each of the B expressions.
    """

    clip_pixels: Tensor
    sam2_pixels: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    clip_of: Tensor
    seg_positions: Tensor
    targets: tuple[Tensor, ...]
    keys: tuple[tuple[TokenKey, ...], ...]

    def to(self, device: torch.device) -> ClipBatch:
        """The batch on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors, targets=tuple(target.to(device) for target in self.targets))


def pad_ids(rows: Sequence[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Right-pads lists of ids: int [B, L] and the mask of what is not padding, bool [B, L]."""
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.bool)
    for row, values in enumerate(rows):
        ids[row, : len(values)] = torch.tensor(values, dtype=torch.long)
        mask[row, : len(values)] = True
    return ids, mask


def expand_images(ids: Sequence[int], tokens_per_frame: int) -> list[int]:
    """Repeats each image placeholder so that every visual token has a position of its own."""
    expanded: list[int] = []
    for token in ids:
        expanded.extend([token] * (tokens_per_frame if token == IMAGE_ID else 1))
    return expanded
