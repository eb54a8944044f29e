"""GLUS: one multimodal language model, one mask branch, joined by the [SEG] projector (paper 4.1, 4.2, B.1)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel, LlamaForCausalLM

from glus.config import ModelConfig
from glus.errors import InputError
from glus.model.mllm import MultimodalLanguageModel
from glus.model.sam2 import MaskBranch
from glus.processing.sentences import IM_END, IM_START, SEG
from glus.processing.tokenizer import LlamaSentencePiece
from glus.processing.transforms import FrameTransform


@dataclass(frozen=True)
class GlusSettings:
    """What a model needs to know beside its weights.

    Attributes:
        num_context_frames: Nc, frames of the whole video.
        num_query_frames: Nq, length of the sliding window.
        token_pool: visual tokens averaged into one.
        seg_layer: layer that [SEG] embeddings are read from, `last` or `penultimate`.
        trailing_space: whether prompts end in a blank piece before [SEG].
        dynamic_multimask: whether inference may take mask tokens 1 to 3 where token 0 is unstable.
    """

    num_context_frames: int
    num_query_frames: int
    token_pool: int
    seg_layer: str
    trailing_space: bool
    dynamic_multimask: bool

    @classmethod
    def of(cls, config: ModelConfig) -> GlusSettings:
        """Those of `params.yaml`."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})


class GlusModel(nn.Module):
    """The published model at any size; tensors in, tensors out.

    Args:
        mllm: frames and words to hidden states.
        text_hidden_fcs: hidden state of [SEG] -> prompt of the mask decoder, D -> C.
        masks: SAM-2 driven by one prompt per frame.
        tokenizer: with `[SEG]`, `<im_start>`, `<im_end>`.
        transform: frames to pixels.
        settings: see there.

    Raises:
        InputError: the tokenizer and the word embeddings have different sizes, or a token of GLUS is missing.
    """

    def __init__(
        self,
        mllm: MultimodalLanguageModel,
        text_hidden_fcs: nn.Sequential,
        masks: MaskBranch,
        tokenizer: LlamaSentencePiece,
        transform: FrameTransform,
        settings: GlusSettings,
    ) -> None:
        super().__init__()
        rows = mllm.language_model.get_input_embeddings().num_embeddings
        if rows != len(tokenizer):
            raise InputError(f"tokenizer: it has {len(tokenizer)} tokens, the language model {rows} embeddings.")
        self.mllm = mllm
        self.text_hidden_fcs = text_hidden_fcs
        self.masks = masks
        self.tokenizer = tokenizer
        self.transform = transform
        self.seg_id, *_ = (tokenizer.token_id(token) for token in (SEG, IM_START, IM_END))
        self.use(settings)

    def use(self, settings: GlusSettings) -> None:
        """Takes other settings than those that the weights were stored with.

        Raises:
            InputError: `token_pool` would drop visual tokens.
        """
        if self.mllm.num_patches % settings.token_pool:
            raise InputError(
                f"model.token_pool: {settings.token_pool} does not divide the {self.mllm.num_patches} patches of a"
                " frame that the given CLIP tower makes."
            )
        self.settings = settings
        self.mllm.token_pool, self.mllm.seg_layer = settings.token_pool, settings.seg_layer

    @property
    def vision_tower(self) -> CLIPVisionModel:
        """The CLIP tower."""
        return self.mllm.vision_tower

    @property
    def mm_projector(self) -> nn.Linear:
        """The projector from CLIP features to visual tokens."""
        return self.mllm.mm_projector

    @property
    def language_model(self) -> LlamaForCausalLM:
        """LLaMA with its LM head."""
        return self.mllm.language_model

    @property
    def deep_layers(self) -> list[nn.Module]:
        """The layers of CLIP, LLaMA and SAM-2's image encoder, which most activations belong to."""
        trunk = self.masks.sam2.image_encoder.trunk
        return [*self.vision_tower.encoder.layers, *self.language_model.model.layers, *trunk.blocks]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.parameters()).device

    def seg_prompts(self, states: Tensor) -> Tensor:
        """Prompts of the mask decoder from `HiddenStates.seg`: float [..., D] -> [..., C]."""
        return self.text_hidden_fcs(states.to(self.masks.sam2.no_mem_embed.dtype))

    def seg_logits(self, states: Tensor) -> Tensor:
        """Next-token logits from `HiddenStates.last`: float [..., D] -> [..., vocabulary]."""
        return self.language_model.lm_head(states)
