"""The mask branch: PyPI `sam2`'s modules driven by one [SEG] prompt per frame and our memory bank (paper 4.2, B.1).

Shapes: N masks (expressions x clips) at a time, C decoder width, h w stride-16 grid, Cm memory width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from glus.model.sam2_config import build_sam2 as build_sam2
from glus.model.sam2_config import load_sam2_config as load_sam2_config


@dataclass(frozen=True)
class FrameFeatures:
    """Image features of N frames, float [N, *, *, *], and the position encoding of the coarsest level."""

    stride4: Tensor
    stride8: Tensor
    stride16: Tensor
    position: Tensor

    @property
    def logit_size(self) -> tuple[int, int]:
        """Height and width of the low-resolution mask logits."""
        height, width = self.stride4.shape[-2:]
        return height, width

    def __getitem__(self, index: Any) -> FrameFeatures:
        """The features of some of the frames, by an index along the first axis."""
        return FrameFeatures(self.stride4[index], self.stride8[index], self.stride16[index], self.position[index])

    def repeated(self, times: int) -> FrameFeatures:
        """One frame for several masks, without copies."""
        return FrameFeatures(
            *(part.expand(times, -1, -1, -1) for part in (self.stride4, self.stride8, self.stride16, self.position))
        )


@dataclass(frozen=True)
class Memory:
    """One remembered frame of N masks: features and position encoding, float [N, Cm, h, w]."""

    features: Tensor
    position: Tensor

    def __getitem__(self, index: Any) -> Memory:
        """The memory of some of the masks."""
        return Memory(self.features[index], self.position[index])

    def detach(self) -> Memory:
        """The same memory, cut off from the graph."""
        return Memory(self.features.detach(), self.position.detach())


@dataclass(frozen=True)
class DecodedMasks:
    """Decoder output for N masks.

    Attributes:
        logits: float [N, 4h, 4w], low-resolution mask logits.
        mask_token: int [N], the mask token that they come from; read by the parity tests alone.
    """

    logits: Tensor
    mask_token: Tensor


class MaskBranch(nn.Module):
    """Encode, condition on memory, decode, remember: the four moves of a frame, the same in training and inference.

    Args:
        config: SAM-2's configuration, see `glus.model.sam2_config`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self.sam2 = build_sam2(config)

    @property
    def image_size(self) -> int:
        """Side of the square input, pixels."""
        return self.sam2.image_size

    @property
    def logit_size(self) -> tuple[int, int]:
        """Height and width of the low-resolution mask logits."""
        return self.sam2.sam_prompt_encoder.mask_input_size

    def encode(self, pixels: Tensor) -> FrameFeatures:
        """Image features of frames, float [N, 3, S, S] normalised."""
        output = self.sam2.forward_image(pixels)
        stride4, stride8, stride16 = output["backbone_fpn"]
        return FrameFeatures(stride4, stride8, stride16, output["vision_pos_enc"][-1])

    def condition(self, features: FrameFeatures, memories: Sequence[Memory]) -> Tensor:
        """Stride-16 features conditioned on memory, float [N, C, h, w].

        Memories are an unordered set: the published model adds no temporal encoding and no object pointers. Without
        any, `no_mem_embed` is added and the memory attention is not run.
        """
        sam2 = self.sam2
        frame = _tokens(features.stride16)
        if not memories:
            conditioned = frame + sam2.no_mem_embed
        else:
            conditioned = sam2.memory_attention(
                curr=[frame],
                curr_pos=[_tokens(features.position)],
                memory=torch.cat([_tokens(memory.features) for memory in memories]),
                memory_pos=torch.cat([_tokens(memory.position) for memory in memories]),
            )
        return conditioned.permute(1, 2, 0).reshape(features.stride16.shape)

    def decode(
        self, conditioned: Tensor, features: FrameFeatures, prompts: Tensor, dynamic_multimask: bool
    ) -> DecodedMasks:
        """Mask logits of one frame.

        Args:
            conditioned: float [N, C, h, w].
            features: of the same N frames (the two finer levels are used).
            prompts: float [N, C], the [SEG] embeddings: the one sparse prompt token of each mask.
            dynamic_multimask: where mask token 0 is unstable, take the best of tokens 1 to 3 by predicted IoU
                (published inference); false: always token 0 (published training).
        """
        encoder, decoder = self.sam2.sam_prompt_encoder, self.sam2.sam_mask_decoder
        height, width = conditioned.shape[-2:]
        dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(prompts), -1, height, width)
        masks, ious, _, _ = decoder.predict_masks(
            image_embeddings=conditioned,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=prompts.unsqueeze(1),
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=[features.stride4, features.stride8],
        )
        token = torch.zeros(len(prompts), dtype=torch.long, device=prompts.device)
        if dynamic_multimask:
            token = torch.where(self._stable(masks[:, 0]), token, 1 + ious[:, 1:].argmax(dim=-1))
        return DecodedMasks(masks[torch.arange(len(prompts), device=prompts.device), token], token)

    def _stable(self, logits: Tensor) -> Tensor:
        """Whether masks hardly change between two thresholds around 0, bool [N]."""
        decoder = self.sam2.sam_mask_decoder
        delta = decoder.dynamic_multimask_stability_delta
        inner = (logits > delta).sum(dim=(-2, -1)).float()
        outer = (logits > -delta).sum(dim=(-2, -1)).float()
        return torch.where(outer > 0, inner / outer, 1.0) >= decoder.dynamic_multimask_stability_thresh

    def remember(self, conditioned: Tensor, logits: Tensor) -> Memory:
        """Encodes masks into memory: float [N, 4h, 4w] logits with the features that they were decoded from.

        As published, the features are those after memory attention and the mask is not binarised.
        """
        sam2 = self.sam2
        size = (sam2.image_size, sam2.image_size)
        mask = functional.interpolate(logits.unsqueeze(1), size=size, mode="bilinear", align_corners=False).sigmoid()
        mask = mask * sam2.sigmoid_scale_for_mem_enc + sam2.sigmoid_bias_for_mem_enc
        encoded = sam2.memory_encoder(conditioned, mask, skip_mask_sigmoid=True)
        return Memory(encoded["vision_features"], encoded["vision_pos_enc"][0])

    def segment_frame(
        self, features: FrameFeatures, prompts: Tensor, memories: Sequence[Memory], dynamic_multimask: bool = False
    ) -> tuple[DecodedMasks, Memory]:
        """One frame through condition, decode and remember (equation D); see those for shapes."""
        conditioned = self.condition(features, memories)
        decoded = self.decode(conditioned, features, prompts, dynamic_multimask)
        return decoded, self.remember(conditioned, decoded.logits)


def _tokens(grid: Tensor) -> Tensor:
    """[N, C, h, w] -> [h * w, N, C]."""
    return grid.flatten(2).permute(2, 0, 1)


def resize_logits(logits: Tensor, height_px: int, width_px: int) -> Tensor:
    """Low-resolution logits [N, a, b] at another size [N, H, W] (bilinear, as published)."""
    return functional.interpolate(
        logits.unsqueeze(1).float(), size=(height_px, width_px), mode="bilinear", align_corners=False
    ).squeeze(1)
