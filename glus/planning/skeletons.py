"""The models of the parameters without weights: shapes and types on the meta device."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from glus.config import Config, ModelConfig
from glus.files import read_json
from glus.model.assembly import build_text_hidden_fcs
from glus.model.checkpointing import checkpoint_activations
from glus.model.glus import GlusModel, GlusSettings
from glus.model.lora import add_lora
from glus.model.mllm import MultimodalLanguageModel
from glus.model.sam2 import MaskBranch, load_sam2_config
from glus.model.scratch import clip_config, llama_config
from glus.planning.live_memory import META
from glus.training.loop.precision import set_weight_types
from glus.training.loop.trainable import select_parameters
from glus.training.loop.trainer import train_mode


class _Vocabulary:
    """Stands for a tokenizer whose file may not be there: its size, and a place for every mark."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def token_id(self, _: str) -> int:
        return self._size - 1


def glus_at_work(config: Config) -> GlusModel:
    """GLUS as it labels and segments: SAM-2 in 32 bits, the rest in those of the arithmetic."""
    model = _glus(config)
    model.mllm.to(getattr(torch, config.compute.precision))
    return model


def _glus(config: Config) -> GlusModel:
    """GLUS as training begins with it, in the types that its parts are published in: a language model in 16 bits, CLIP
    and SAM-2 in 32; where nothing is loaded, or arithmetic is in 32 bits, all in 32.
    """
    shape = config.model
    language, vision = _language(shape.base, shape), _vision(shape.vision_tower, shape)
    masks = MaskBranch(load_sam2_config(shape.sam2_config)).to(META)  # it looks at values while it is built
    with META:
        mllm = MultimodalLanguageModel(
            CLIPVisionModel(vision),
            nn.Linear(vision.hidden_size, language.hidden_size),
            LlamaForCausalLM(language),
            token_pool=shape.token_pool,
            seg_layer=shape.seg_layer,
        )
        projector = build_text_hidden_fcs(language.hidden_size, masks.sam2.hidden_dim)
    if shape.base is not None and config.compute.precision == "bfloat16":
        parts: list[nn.Module] = [mllm.language_model, mllm.mm_projector, projector]
        for part in parts:
            part.to(torch.bfloat16)
    tokenizer: Any = _Vocabulary(language.vocab_size)
    return GlusModel(mllm, projector, masks, tokenizer, cast(Any, None), GlusSettings.of(shape)).eval()


def glus_in_training(config: Config) -> tuple[GlusModel, dict[str, nn.Parameter]]:
    """GLUS in the clip phase, and what is trained."""
    model = _glus(config)
    with META:
        add_lora(model.language_model, config.model.lora)
    trained = select_parameters(model, config.train.trainable)
    set_weight_types(model, trained.values(), config.compute.precision)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    train_mode(model)
    if config.compute.activation_checkpointing:
        checkpoint_activations(model.deep_layers)
    return model, trained


def _language(base: str | None, shape: ModelConfig) -> LlamaConfig:
    """Of the weights where they are there, else of the parameters, which name them too."""
    file = Path(str(base)) / "config.json"
    if base is not None and file.is_file():
        found = read_json(file)
        names = (
            "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "max_position_embeddings",
        )  # fmt: skip
        language = found.get("language", found)
        return LlamaConfig(**{name: language[name] for name in names if name in language}, tie_word_embeddings=False)
    return llama_config(shape.language, shape.language.vocabulary)


def _vision(folder: str | None, shape: ModelConfig) -> CLIPVisionConfig:
    file = Path(str(folder)) / "config.json"
    if folder is not None and file.is_file():
        found = read_json(file)
        return CLIPVisionConfig.from_dict(found.get("vision_config", found))
    return clip_config(shape.vision)
