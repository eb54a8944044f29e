"""Token ids as the language model takes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from glus.processing.tokenizer import IMAGE_ID


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
