"""GLUS put together from its parts and from tensors, however they were stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from glus.model.glus import GlusModel, GlusSettings
from glus.model.mllm import MultimodalLanguageModel
from glus.model.sam2 import MaskBranch
from glus.processing.tokenizer import LlamaSentencePiece
from glus.processing.transforms import FrameTransform

VISION_TOWER = "mllm.vision_tower."


def assemble(
    vision_tower: CLIPVisionModel,
    language: LlamaConfig,
    sam2: Mapping[str, Any],
    tokenizer: LlamaSentencePiece,
    clip_processor: CLIPImageProcessorPil,
    settings: GlusSettings,
) -> GlusModel:
    """A GLUS whose language model has no weights yet: `fill` brings them, and 7B are not drawn in vain.

    Args:
        vision_tower: CLIP.
        language: sizes of LLaMA.
        sam2: SAM-2's configuration, see `load_sam2_config`.
    """
    masks = MaskBranch(sam2)
    mllm = MultimodalLanguageModel(
        vision_tower,
        nn.Linear(vision_tower.config.hidden_size, language.hidden_size),
        language_model_without_weights(language),
        token_pool=settings.token_pool,
        seg_layer=settings.seg_layer,
    )
    projector = build_text_hidden_fcs(language.hidden_size, masks.sam2.hidden_dim)
    return GlusModel(mllm, projector, masks, tokenizer, FrameTransform(clip_processor, masks.image_size), settings)


def language_model_without_weights(config: LlamaConfig) -> LlamaForCausalLM:
    """LLaMA with parameters on the `meta` device; its rotary frequencies, which no file holds, are there."""
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    return model


def build_text_hidden_fcs(language_width: int, decoder_width: int) -> nn.Sequential:
    """The [SEG] projector: two linear layers with a ReLU, D -> D -> C."""
    return nn.Sequential(nn.Linear(language_width, language_width), nn.ReLU(), nn.Linear(language_width, decoder_width))
