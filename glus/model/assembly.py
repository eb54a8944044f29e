"""GLUS put together from its parts and from tensors, however they were stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from glus.data.tokenizer import LlamaSentencePiece
from glus.data.transforms import FrameTransform
from glus.errors import InputError
from glus.model.glus import GLUS, GlusSettings
from glus.model.mllm import MultimodalLanguageModel
from glus.model.sam2 import MaskBranch

VISION_TOWER = "mllm.vision_tower."


def assemble(
    vision_tower: CLIPVisionModel,
    language: LlamaConfig,
    sam2: Mapping[str, Any],
    tokenizer: LlamaSentencePiece,
    clip_processor: CLIPImageProcessorPil,
    settings: GlusSettings,
) -> GLUS:
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
    return GLUS(mllm, projector, masks, tokenizer, FrameTransform(clip_processor, masks.image_size), settings)


def language_model_without_weights(config: LlamaConfig) -> LlamaForCausalLM:
    """LLaMA with parameters on the `meta` device; its rotary frequencies, which no file holds, are there."""
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model.model.rotary_emb = LlamaRotaryEmbedding(config)
    return model


def build_text_hidden_fcs(language_width: int, decoder_width: int) -> nn.Sequential:
    """The [SEG] projector: two linear layers with a ReLU, D -> D -> C."""
    return nn.Sequential(nn.Linear(language_width, language_width), nn.ReLU(), nn.Linear(language_width, decoder_width))


def fill(model: nn.Module, weights: Mapping[str, Tensor], origin: str, *, apart: tuple[str, ...] = ()) -> None:
    """Gives a model its tensors, as they are (type and all).

    Args:
        weights: by the model's names; those of CLIP's tower may be of any release of transformers.
        origin: what errors call the source.
        apart: prefixes of parts that have theirs already.

    Raises:
        InputError: tensors that are missing, unexpected or misshapen; names them.
    """
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(apart)}
    current = {_without_wrapper(name): name for name in own}
    given = {current.get(_without_wrapper(name), name): _aligned(tensor) for name, tensor in weights.items()}
    if faults := tensor_faults(own, given):
        raise InputError(f"{origin} does not fit the model: {faults}.")
    model.load_state_dict(given, strict=False, assign=True)


def _aligned(tensor: Tensor) -> Tensor:
    """The tensor where kernels expect it: safetensors begin anywhere in a file, and sums round differently there."""
    return tensor if tensor.data_ptr() % 64 == 0 else tensor.clone()


def _without_wrapper(name: str) -> str:
    """CLIP's tower wraps its layers in a module of their own in some releases of transformers."""
    return name.replace("vision_model.", "", 1)


def tensor_faults(own: Mapping[str, Tensor], given: Mapping[str, Tensor], shown: int = 10) -> str:
    """Names tensors that are missing, unexpected or of another shape; empty where all fit."""
    faults = [f"missing {name}" for name in own.keys() - given.keys()]
    faults += [f"unexpected {name}" for name in given.keys() - own.keys()]
    faults += [
        f"{name} has shape {list(given[name].shape)}, expected {list(own[name].shape)}"
        for name in own.keys() & given.keys()
        if own[name].shape != given[name].shape
    ]
    more = f"; and {len(faults) - shown} more" if len(faults) > shown else ""
    return "; ".join(sorted(faults)[:shown]) + more
