"""A model from nothing: built from the shapes in `params.yaml`, initialised so that the tiny size learns its words.

Real sizes start from pretrained weights and never come here.
"""

from __future__ import annotations

import math

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from glus.config import LanguageConfig, ModelConfig, VisionConfig
from glus.config.model import LONGEST_CONVERSATION
from glus.model.assembly import build_text_hidden_fcs
from glus.model.glus import GlusModel, GlusSettings
from glus.model.mllm import MultimodalLanguageModel
from glus.model.sam2 import MaskBranch, load_sam2_config
from glus.processing.tokenizer import LlamaSentencePiece
from glus.processing.transforms import FrameTransform, build_clip_processor


def build_from_scratch(config: ModelConfig, tokenizer: LlamaSentencePiece, seed: int) -> GlusModel:
    """Builds GLUS with fresh weights; the same seed gives the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vision_tower = CLIPVisionModel(clip_config(config.vision))
        language_model = LlamaForCausalLM(llama_config(config.language, len(tokenizer)))
        masks = MaskBranch(load_sam2_config(config.sam2_config))
        width = config.language.hidden_size
        model = GlusModel(
            MultimodalLanguageModel(
                vision_tower,
                nn.Linear(config.vision.hidden_size, width),
                language_model,
                token_pool=config.token_pool,
                seg_layer=config.seg_layer,
            ),
            build_text_hidden_fcs(width, masks.sam2.hidden_dim),
            masks,
            tokenizer,
            FrameTransform(build_clip_processor(config.vision.image_size), masks.image_size),
            GlusSettings.of(config),
        )
        _spread_expressions(model)
        _start_memory_locally(masks.sam2)
    return model


def clip_config(shape: VisionConfig) -> CLIPVisionConfig:
    """CLIP's configuration for a shape."""
    return CLIPVisionConfig(
        image_size=shape.image_size,
        patch_size=shape.patch_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
    )


def llama_config(shape: LanguageConfig, vocabulary: int) -> LlamaConfig:
    """LLaMA's configuration for a shape."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        max_position_embeddings=LONGEST_CONVERSATION,
        tie_word_embeddings=False,
    )


@torch.no_grad()
def _spread_expressions(model: GlusModel) -> None:
    """Wide initial weights, so that different words give different prompts from the first step on.

    With the usual 0.02 the expressions make up a tenth of the initial prompt instead of three quarters, and the
    referent is learned half as fast.
    """
    language_model = model.language_model
    width = language_model.config.hidden_size
    for module in language_model.model.layers.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1.7 / math.sqrt(width))
    nn.init.normal_(language_model.model.embed_tokens.weight, std=0.05)
    nn.init.normal_(language_model.lm_head.weight, std=0.02)
    last = model.text_hidden_fcs[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(3.0)


@torch.no_grad()
def _start_memory_locally(sam2: SAM2Base) -> None:
    """Lets the memory attention start by copying what was remembered at the same place.

    With default weights it averages the whole memory, and masks of different objects cannot be told apart: equal
    biases of queries and keys make equal positions score highest under rotary encoding.
    """
    for layer in sam2.memory_attention.layers:
        attention = layer.cross_attn_image
        attention.q_proj.bias.fill_(1.5)
        attention.k_proj.bias.fill_(1.5)
        attention.v_proj.weight.mul_(2.0)
        attention.out_proj.weight.mul_(2.0)
