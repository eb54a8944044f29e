"""The multimodal language model: CLIP tower, token pooling, projector, LLaMA (paper B.1, equations A and B).

Shapes: N frames, P visual tokens per frame, D language width, B expressions, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionModel, DynamicCache, LlamaForCausalLM

from glus.errors import InputError
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import place_visual_tokens


@dataclass(frozen=True)
class HiddenStates:
    """States of positions in conversations, float [..., D].

    Attributes:
        last: after the last layer and the final norm, what the LM head reads.
        seg: what [SEG] embeddings are read from: `last`, or the output of the layer before (`seg_layer`).
    """

    last: Tensor
    seg: Tensor

    def __getitem__(self, index: Any) -> HiddenStates:
        """The states of some of the positions."""
        return HiddenStates(self.last[index], self.seg[index])


class MultimodalLanguageModel(nn.Module):
    """Frames and words in, hidden states out.

    Args:
        vision_tower: CLIP; the features before its last layer are used (`hidden_states[-2]`, without the class token).
        mm_projector: CLIP width -> D.
        language_model: LLaMA with its LM head.
        token_pool: visual tokens, in raster order, averaged into one (before the projector).
        seg_layer: which layer [SEG] embeddings are read from: `last` (after the final norm) or `penultimate`.
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
        return self.num_patches // self.token_pool

    @property
    def num_patches(self) -> int:
        """Features of one frame before they are pooled."""
        vision = self.vision_tower.config
        return (int(vision.image_size) // int(vision.patch_size)) ** 2  # type: ignore[arg-type]

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

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, image_tokens: Tensor, prefix: DynamicCache | None = None
    ) -> HiddenStates:
        """Hidden states of whole conversations, or of what follows a prefix that was read before.

        Args:
            input_ids: int [B, L], right-padded, with P times `IMAGE_ID` for each image.
            attention_mask: bool [B, L], or [B, prefix + L].
            image_tokens: float [B, images * P, D], in the order of the images of each row; [total, D], row after row,
                where the rows have different numbers of images.
            prefix: keys and values that all rows share, see `read_prefix`.

        Returns:
            [B, L, D].

        Raises:
            InputError: more positions than the language model has, or another number of visual tokens than of places.
        """
        embeddings = self._embed(input_ids, image_tokens)
        limit = self.language_model.config.max_position_embeddings
        if attention_mask.shape[1] > limit:
            raise InputError(
                f"a conversation of {attention_mask.shape[1]} positions does not fit the language model's window of"
                f" {limit}; ask with a shorter sentence, or fewer context or query frames."
            )
        output = self.language_model.model(
            inputs_embeds=embeddings,
            attention_mask=attention_mask.long(),
            past_key_values=None if prefix is None else _repeated(prefix, len(input_ids)),
            use_cache=prefix is not None,
            output_hidden_states=self.seg_layer == "penultimate",
        )
        last = output.last_hidden_state
        return HiddenStates(last, output.hidden_states[-2] if self.seg_layer == "penultimate" else last)

    def read_prefix(self, input_ids: Tensor, image_tokens: Tensor) -> DynamicCache:
        """Keys and values of a beginning that several conversations share, int [1, L]."""
        cache = DynamicCache()
        self.language_model.model(
            inputs_embeds=self._embed(input_ids, image_tokens), past_key_values=cache, use_cache=True
        )
        return cache

    def _embed(self, input_ids: Tensor, image_tokens: Tensor) -> Tensor:
        """Embeddings of words and, at their places, of visual tokens: float [B, L, D]."""
        words = self.language_model.get_input_embeddings()(input_ids.masked_fill(input_ids == IMAGE_ID, 0))
        return place_visual_tokens(words, input_ids, image_tokens)


def _repeated(cache: DynamicCache, rows: int) -> DynamicCache:
    """A cache of one row for several rows; the given one stays as it is."""
    repeated = DynamicCache()
    for index, (keys, values, *_) in enumerate(cache):
        repeated.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
    return repeated
