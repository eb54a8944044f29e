"""Released GLUS checkpoints: the published folder format in, our model out.

The published files leave out what their inference script is told on its command line: the CLIP tower and the name of
the SAM-2 configuration. Nothing is unpickled (`weights_only`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig

from glus.errors import InputError
from glus.files import read_json
from glus.model.assembly import VISION_TOWER, assemble
from glus.model.glus import GlusModel, GlusSettings
from glus.model.sam2 import load_sam2_config
from glus.processing.tokenizer import LlamaSentencePiece
from glus.weights.clip import load_clip_processor, load_vision_tower
from glus.weights.tensor_files import fill, read_renamed, require_sizes

SETTINGS = GlusSettings(
    num_context_frames=4,
    num_query_frames=4,
    token_pool=4,
    seg_layer="last",
    trailing_space=True,
    dynamic_multimask=True,
)
LANGUAGE_SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings",
)  # fmt: skip
LOST_GAMMA = 1e-6  # what the published loader leaves in the memory fuser's blocks
_PREFIXES = (
    ("model.visual_model.", "masks.sam2."),
    ("model.text_hidden_fcs.0.", "text_hidden_fcs."),
    ("model.mm_projector.", "mllm.mm_projector."),
    ("model.", "mllm.language_model.model."),
    ("lm_head.", "mllm.language_model.lm_head."),
)


def is_released(directory: Path) -> bool:
    """Whether a folder holds the published format, of GLUS or of LISA."""
    return model_type(directory) == "llava"


def model_type(directory: Path) -> str | None:
    """What the `config.json` of a folder calls its model; None where there is none.

    Raises:
        InputError: the file is not JSON.
    """
    config = directory / "config.json"
    return read_json(config).get("model_type") if config.is_file() else None


def load_released(
    directory: Path, *, vision_tower: Path, sam2_config: str, load_gamma: bool = True, dtype: str | None = None
) -> GlusModel:
    """Loads a released checkpoint.

    Args:
        directory: `config.json`, weights (`.bin` or safetensors, whole or sharded), slow LLaMA tokenizer.
        vision_tower: folder of the CLIP tower and its image processor.
        sam2_config: name of a configuration of the sam2 package, or a YAML file.
        load_gamma: take the memory fuser's `gamma` as stored; false repeats the published inference script, whose
            loader drops the two tensors.
        dtype: see `held_as`.

    Raises:
        InputError: files that are missing or unreadable, or tensors that are missing, unexpected or misshapen (named).
    """
    model = assemble(
        load_vision_tower(vision_tower),
        language_config(directory / "config.json"),
        load_sam2_config(sam2_config),
        LlamaSentencePiece.from_pretrained(directory),
        load_clip_processor(vision_tower),
        SETTINGS,
    )
    weights = read_renamed(directory, is_weight, rename)
    if not load_gamma:
        weights = ((name, _lost(name, tensor)) for name, tensor in weights)
    fill(model, weights, str(directory), apart=(VISION_TOWER,), type_of=held_as(dtype))
    return model


def held_as(dtype: str | None) -> Callable[[str], torch.dtype | None]:
    """In which type a tensor of the model is held: CLIP and the language model in the given one, the rest in float32.

    Args:
        dtype: `float32`, `bfloat16` or `float16`; None: all as stored.
    """
    if dtype is None:
        return lambda name: None
    given = getattr(torch, dtype)
    return lambda name: given if name.startswith("mllm.") else torch.float32


def language_config(path: Path) -> LlamaConfig:
    """Sizes of LLaMA from the `config.json` of a LLaVA-like checkpoint.

    Raises:
        InputError: unreadable, or a size that is missing or impossible.
    """
    config = read_json(path)
    require_sizes(config, LANGUAGE_SIZES, path)
    others = ("rms_norm_eps", "hidden_act", "num_key_value_heads")
    if missing := [name for name in others[:2] if name not in config]:
        raise InputError(f"{path} lacks {', '.join(missing)}.")
    names = [name for name in (*LANGUAGE_SIZES, *others) if name in config]
    return LlamaConfig(tie_word_embeddings=False, **{name: config[name] for name in names})


def is_weight(name: str) -> bool:
    """Whether a tensor of a published file belongs to the model; CLIP has a folder of its own."""
    return not name.endswith("rotary_emb.inv_freq") and "vision_tower" not in name


def rename(name: str) -> str:
    """Our name of a tensor of a published file."""
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _lost(name: str, tensor: Tensor) -> Tensor:
    is_gamma = ".memory_encoder.fuser." in name and name.endswith(".gamma")
    return torch.full_like(tensor, LOST_GAMMA) if is_gamma else tensor
