"""The multimodal language model: CLIP tower, token pooling, projector, LLaMA (paper B.1, equations A and B).

Shapes: N frames, P visual tokens per frame, D language width, B expressions, L positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionModel, LlamaForCausalLM

from glus.data.tokenizer import IMAGE_ID
from glus.errors import InputError


class MultimodalLanguageModel(nn.Module):
    """Frames and words in, hidden states out.

    Args:
        vision_tower: CLIP; the features before its last layer are used (`hidden_states[-2]`, without the class token).
        mm_projector: CLIP width -> D.
        language_model: LLaMA with its LM head.
        token_pool: visual tokens, in raster order, averaged into one (before the projector).
        seg_layer: `last` (after the final norm) or `penultimate`.
    """

    def __init__(
        self,
        vision_tower: CLIPVisionModel,
        mm_projector: nn.Linear,
        language_model: LlamaForCausalLM,
        *,
        token_pool: int,
        seg_layer: str,
    ) -> None:
        super().__init__()
        self.vision_tower = vision_tower
        self.mm_projector = mm_projector
        self.language_model = language_model
        self.token_pool = token_pool
        self.seg_layer = seg_layer

    @property
    def tokens_per_frame(self) -> int:
        """P, the number of positions that one frame takes in the language model."""
        vision = self.vision_tower.config
        return (int(vision.image_size) // int(vision.patch_size)) ** 2 // self.token_pool  # type: ignore[arg-type]

    def encode_frames(self, pixels: Tensor) -> Tensor:
        """Pooled CLIP features of frames: float [N, 3, h, w] -> [N, P, CLIP width].

        The tower runs without gradient unless its own parameters are trained.
        """
        trained = any(parameter.requires_grad for parameter in self.vision_tower.parameters())
        with torch.set_grad_enabled(torch.is_grad_enabled() and trained):
            features = self.vision_tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        return functional.avg_pool1d(features.transpose(1, 2), self.token_pool).transpose(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """Visual tokens of frames: [N, P, CLIP width] -> [N, P, D]."""
        return self.mm_projector(features)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor) -> Tensor:
        """Hidden states of whole conversations.

        Args:
            input_ids: int [B, L], right-padded, with P times `IMAGE_ID` for each image.
            attention_mask: bool [B, L].
            image_tokens: float [B, images * P, D], in the order of the images of each row.

        Returns:
            float [B, L, D]: the states that [SEG] embeddings are read from, see `seg_layer`.
        """
        is_image = input_ids == IMAGE_ID
        embeddings = self.language_model.get_input_embeddings()(input_ids.masked_fill(is_image, 0))
        embeddings = embeddings.masked_scatter(is_image.unsqueeze(-1), image_tokens.to(embeddings.dtype))
        limit = self.language_model.config.max_position_embeddings
        if input_ids.shape[1] > limit:
            raise InputError(
                f"a conversation of {input_ids.shape[1]} positions does not fit the language model's window of {limit};"
                " use fewer context or query frames."
            )
        output = self.language_model.model(
            inputs_embeds=embeddings,
            attention_mask=attention_mask.long(),
            use_cache=False,
            output_hidden_states=self.seg_layer == "penultimate",
        )
        return output.hidden_states[-2] if self.seg_layer == "penultimate" else output.last_hidden_state
