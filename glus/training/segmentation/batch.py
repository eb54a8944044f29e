"""The hand-over between data and model: one typed batch of clips.

Shapes: S clips, B expressions of all clips together, Nc context and Nq query frames, L positions, H W frame size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from glus.model.conversations import Conversations
from glus.training.segmentation.grounding import Grounding


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
        conversations: the same ones packed; asked are the positions that predict the [SEG] tokens (one before each).
        clip_of: int [B], the clip that an expression belongs to.
        targets: one [n, Nq, H, W] for each clip, in the order of its n expressions: bool, or uint8 where annotations
            are summed as published.
        keys: Nq keys for each of the B expressions.
        grounding: what there is to name and to point at; None where nothing asks for it.
    """

    clip_pixels: Tensor
    sam2_pixels: Tensor
    input_ids: Tensor
    conversations: Conversations
    clip_of: Tensor
    targets: tuple[Tensor, ...]
    keys: tuple[tuple[TokenKey, ...], ...]
    grounding: Grounding | None = None

    @property
    def num_masks(self) -> int:
        """Masks, and [SEG] tokens: B * Nq."""
        return sum(map(len, self.keys))

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Videos and expressions, `dataset/video/expression`."""
        return tuple(f"{keys[0].video_id}/{keys[0].expression_id}" for keys in self.keys)

    def to(self, device: torch.device) -> ClipBatch:
        """The batch on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor | Conversations | Grounding)
        }
        return replace(self, **tensors, targets=tuple(target.to(device) for target in self.targets))


@dataclass(frozen=True)
class TrackBatch:
    """Object tracks without words.

    Attributes:
        sam2_pixels: float [S, Nq, 3, S2, S2].
        clip_of: int [B].
        targets: one bool [n, Nq, H, W] for each clip.
        sample_ids: the clips' videos, `dataset/video`.
    """

    sam2_pixels: torch.Tensor
    clip_of: torch.Tensor
    targets: tuple[torch.Tensor, ...]
    sample_ids: tuple[str, ...]

    @property
    def num_masks(self) -> int:
        """Masks that are predicted: those after the first frame."""
        return sum(len(target) * (target.shape[1] - 1) for target in self.targets)

    def to(self, device: torch.device) -> TrackBatch:
        """The batch on another device."""
        return TrackBatch(
            self.sam2_pixels.to(device),
            self.clip_of.to(device),
            tuple(target.to(device) for target in self.targets),
            self.sample_ids,
        )
