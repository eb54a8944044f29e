"""The multimodal language model: CLIP tower, token pooling, projector, LLaMA (paper B.1, equations A and B).

Shapes: N frames, P visual tokens per frame, D language width, B expressions, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPVisionModel, LlamaForCausalLM

from glus.errors import InputError
from glus.model.clip import patch_features
from glus.model.conversations import Conversations
from glus.model.packing import read_packed, reads_branches, take
from glus.model.sharing import SharedCache, read_shared, read_states
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import place_visual_tokens


@dataclass(frozen=True)
class HiddenStates:
    """States of positions in conversations, float [..., D].

    Attributes:
        last: after the last layer and the final norm, what the LM head reads.
        seg: what [SEG] embeddings are read from: `last`, or the output of the layer before (`seg_layer`).
        visual: of all visual tokens of a batch, clip after clip: what the last layer reads of them; none where they
            were read before.
    """

    last: Tensor
    seg: Tensor
    visual: Tensor

    def unflatten(self, rows: int) -> HiddenStates:
        """States of equally many positions for each of some rows, [rows, positions, D]."""
        return HiddenStates(self.last.unflatten(0, (rows, -1)), self.seg.unflatten(0, (rows, -1)), self.visual)

    def flatten(self) -> HiddenStates:
        """The same states as rows, [positions, D]."""
        return HiddenStates(self.last.flatten(0, -2), self.seg.flatten(0, -2), self.visual)


class MultimodalLanguageModel(nn.Module):
    """Frames and words in, hidden states out.

    Args:
        vision_tower: CLIP, read by `patch_features`.
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
        reads_branches(language_model)

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
            features = patch_features(self.vision_tower, pixels)
        return functional.avg_pool1d(features.transpose(1, 2), self.token_pool).transpose(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """Visual tokens of frames: [N, P, CLIP width] -> [N, P, D]."""
        return self.mm_projector(features)

    def forward(self, conversations: Conversations, visual_tokens: Tensor) -> HiddenStates:
        """States of the tokens that are asked, [A, D]; gradients flow (see `glus.model.packing`).

        Args:
            conversations: see there, on the model's device.
            visual_tokens: float [tokens, D], of all frames of the batch.

        Raises:
            InputError: more positions than the language model has.
        """
        self.require_fit(conversations.longest)
        words = self.language_model.get_input_embeddings()(conversations.words)
        embeddings = functional.embedding(conversations.sources, torch.cat([words, visual_tokens.to(words.dtype)]))
        last, before = read_packed(self.language_model.model, embeddings, conversations.layout)
        seg = take(before, conversations.layout.asked) if self.seg_layer == "penultimate" else last
        return HiddenStates(last, seg, take(before, conversations.visual))

    def read_context(self, input_ids: Tensor, image_tokens: Tensor) -> SharedCache:
        """Reads the beginning that all conversations about a video share.

        Args:
            input_ids: int [1, L], with P times `IMAGE_ID` for each image.
            image_tokens: float [1, images * P, D].

        Raises:
            InputError: more positions than the language model has, or another number of visual tokens than of places.
        """
        self.require_fit(input_ids.shape[1])
        context = SharedCache.empty(self.language_model.config.num_hidden_layers)
        read_shared(self.language_model.model, self._embed(input_ids, image_tokens), context)
        return context

    def read_frames(self, tokens: Tensor, context: SharedCache) -> SharedCache:
        """Reads frames that each stand first behind the context, visual tokens float [n, P, D]."""
        frames = context.continued()
        read_shared(self.language_model.model, tokens.to(self._dtype), frames)
        return frames

    def read_endings(
        self, input_ids: Tensor, image_tokens: Tensor, positions: Tensor, before: SharedCache
    ) -> HiddenStates:
        """Reads the rest of conversations and computes the states of some of its positions.

        Args:
            input_ids: as `read_context`, behind what `before` holds: as many rows behind each of its rows.
            image_tokens: as `read_context`.
            positions: int [n, K], counted from the first of `input_ids`.
            before: see `read_frames`.

        Returns:
            [n, K, D].

        Raises:
            InputError: more positions than the language model has.
        """
        self.require_fit(before.get_seq_length() + input_ids.shape[1])
        last, penultimate = read_states(
            self.language_model.model,
            self._embed(input_ids, image_tokens),
            positions,
            before.continued(keep=False),
        )
        seg = penultimate if self.seg_layer == "penultimate" else last
        return HiddenStates(last, seg, last.new_zeros(0, last.shape[-1]))

    @property
    def _dtype(self) -> torch.dtype:
        return self.language_model.get_input_embeddings().weight.dtype  # type: ignore[return-value]

    def require_fit(self, positions: int) -> None:
        """Refuses a conversation that is too long.

        Raises:
            InputError: more positions than the language model has.
        """
        limit = self.language_model.config.max_position_embeddings
        if positions > limit:
            raise InputError(
                f"a conversation of {positions} positions does not fit the language model's window of"
                f" {limit}; use a shorter sentence, or fewer context or query frames."
            )

    def _embed(self, input_ids: Tensor, image_tokens: Tensor) -> Tensor:
        """Embeddings of words and, at their places, of visual tokens: float [B, L, D]."""
        words = self.language_model.get_input_embeddings()(input_ids.masked_fill(input_ids == IMAGE_ID, 0))
        return place_visual_tokens(words, input_ids, image_tokens)
