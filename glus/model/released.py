"""Released GLUS checkpoints: the published folder format in, our model out.

The published files leave out what their inference script is told on its command line: the CLIP tower and the name of
the SAM-2 configuration. Nothing is unpickled (`weights_only`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError  # the name of what torch raises; nothing is unpickled
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionModel, LlamaConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.data.tokenizer import LlamaSentencePiece
from glus.errors import InputError
from glus.model.assembly import VISION_TOWER, assemble, fill
from glus.model.glus import GLUS, GlusSettings
from glus.model.sam2 import load_sam2_config

SETTINGS = GlusSettings(
    num_context_frames=4,
    num_query_frames=4,
    token_pool=4,
    seg_layer="last",
    trailing_space=True,
    dynamic_multimask=True,
)
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
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
    """What the `config.json` of a folder calls its model; None where there is none."""
    config = directory / "config.json"
    return json.loads(config.read_text(encoding="utf-8")).get("model_type") if config.is_file() else None


def load_released(directory: Path, *, vision_tower: Path, sam2_config: str, load_gamma: bool = True) -> GLUS:
    """Loads a released checkpoint; tensors keep the types that they are stored in.

    Args:
        directory: `config.json`, weights (`.bin` or safetensors, whole or sharded), slow LLaMA tokenizer.
        vision_tower: folder of the CLIP tower and its image processor.
        sam2_config: name of a configuration of the sam2 package, or a YAML file.
        load_gamma: take the memory fuser's `gamma` as stored; false repeats the published inference script, whose
            loader drops the two tensors.

    Raises:
        InputError: files that are missing or unreadable, or tensors that are missing, unexpected or misshapen (named).
    """
    model = assemble(
        load_vision_tower(vision_tower),
        language_config(directory / "config.json"),
        load_sam2_config(sam2_config),
        LlamaSentencePiece.from_pretrained(directory),
        CLIPImageProcessorPil.from_pretrained(vision_tower),
        SETTINGS,
    )
    weights = {rename(name): tensor for name, tensor in read_checkpoint(directory) if is_weight(name)}
    if not load_gamma:
        weights = {name: _lost(name, tensor) for name, tensor in weights.items()}
    fill(model, weights, str(directory), apart=(VISION_TOWER,))
    return model


def load_vision_tower(folder: Path) -> CLIPVisionModel:
    """The CLIP tower of a folder, float32.

    Raises:
        InputError: no such folder, files that are missing or unreadable, or tensors that are missing (named).
    """
    if not folder.is_dir():
        raise InputError(f"vision tower: {folder} is not a folder; the checkpoint does not hold it, name a folder.")
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise InputError(f"vision tower: {folder} has no {name}; name the folder of a CLIP with its preprocessor.")
    try:
        loaded: Any = CLIPVisionModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise InputError(f"vision tower: {folder} cannot be read: {error}") from error
    tower, report = loaded
    if missing := sorted(report["missing_keys"]):  # drawn at random otherwise
        raise InputError(f"vision tower: {folder} does not fit its config.json: missing {', '.join(missing[:10])}.")
    return tower


def language_config(path: Path) -> LlamaConfig:
    """Sizes of LLaMA from the `config.json` of a LLaVA-like checkpoint.

    Raises:
        InputError: unreadable, or without one of the sizes.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    names = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "hidden_act",
    )  # fmt: skip
    missing = [name for name in names if name not in config and name != "num_key_value_heads"]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}.")
    return LlamaConfig(tie_word_embeddings=False, **{name: config[name] for name in names if name in config})


def read_checkpoint(directory: Path) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a checkpoint, shard after shard.

    Raises:
        InputError: no weights there, a shard that is missing, or one that is not plain tensors.
    """
    for file in _weight_files(directory):
        yield from read_plain(file).items()


def read_plain(file: Path) -> dict[str, Any]:
    """What a `.safetensors`, `.bin` or `.pt` file holds, provided that it is plain data and tensors.

    Raises:
        InputError: no such file, damaged, or with objects that would have to be unpickled.
    """
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, UnpicklingError) as error:
        raise InputError(f"{file} cannot be read as plain tensors: {error}.") from error


def tensor_names(directory: Path) -> list[str]:
    """Names of all tensors of a checkpoint, from its index where it has one."""
    for name in INDEXES:
        if (directory / name).is_file():
            return list(json.loads((directory / name).read_text(encoding="utf-8"))["weight_map"])
    return [name for name, _ in read_checkpoint(directory)]


def _weight_files(directory: Path) -> list[Path]:
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = directory / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return [directory / Path(shard).name for shard in shards]
        if (directory / name).is_file():
            return [directory / name]
    raise InputError(f"{directory} holds no weights (model.safetensors or pytorch_model.bin, or their index).")


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
