"""Released GLUS checkpoints: the published folder format in, our model out.

The published files leave out what their inference script is told on its command line: the CLIP tower and the name of
the SAM-2 configuration. Nothing is unpickled (`weights_only`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.data.tokenizer import LlamaSentencePiece
from glus.data.transforms import FrameTransform
from glus.errors import InputError
from glus.model.glus import GLUS, GlusSettings
from glus.model.mllm import MultimodalLanguageModel
from glus.model.sam2 import MaskBranch, load_sam2_config
from glus.model.scratch import build_text_hidden_fcs
from glus.model.weights import tensor_faults

SETTINGS = GlusSettings(
    num_context_frames=4,
    num_query_frames=4,
    token_pool=4,
    seg_layer="last",
    trailing_space=True,
    dynamic_multimask=True,
)
LOST_GAMMA = 1e-6  # what the published loader leaves in the memory fuser's blocks
_PREFIXES = (
    ("model.visual_model.", "masks.sam2."),
    ("model.text_hidden_fcs.0.", "text_hidden_fcs."),
    ("model.mm_projector.", "mllm.mm_projector."),
    ("model.", "mllm.language_model.model."),
    ("lm_head.", "mllm.language_model.lm_head."),
)


def is_released(directory: Path) -> bool:
    """Whether a folder holds the published format."""
    config = directory / "config.json"
    return config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("model_type") == "llava"


def load_released(directory: Path, *, vision_tower: Path, sam2_config: str, load_gamma: bool) -> GLUS:
    """Loads a released checkpoint as float32.

    Args:
        directory: `config.json`, weights (`.bin` or safetensors, whole or sharded), slow LLaMA tokenizer.
        vision_tower: folder of the CLIP tower and its image processor.
        sam2_config: name of a configuration of the sam2 package, or a YAML file.
        load_gamma: take the memory fuser's `gamma` as stored; false repeats the published inference script, whose
            loader drops the two tensors.

    Raises:
        InputError: files that are missing or unreadable, or tensors that are missing, unexpected or misshapen (named).
    """
    language = _language_config(directory / "config.json")
    tower = CLIPVisionModel.from_pretrained(_existing(vision_tower, "vision tower"), dtype=torch.float32)
    masks = MaskBranch(load_sam2_config(sam2_config))
    mllm = MultimodalLanguageModel(
        tower,
        nn.Linear(tower.config.hidden_size, language.hidden_size),
        LlamaForCausalLM(language),
        token_pool=SETTINGS.token_pool,
        seg_layer=SETTINGS.seg_layer,
    )
    model = GLUS(
        mllm,
        build_text_hidden_fcs(language.hidden_size, masks.sam2.hidden_dim),
        masks,
        LlamaSentencePiece.from_pretrained(directory),
        FrameTransform(CLIPImageProcessorPil.from_pretrained(vision_tower), masks.image_size),
        SETTINGS,
    )
    weights = {_rename(name): tensor.float() for name, tensor in read_checkpoint(directory) if _is_weight(name)}
    if not load_gamma:
        weights = {name: _lost(name, tensor) for name, tensor in weights.items()}
    _load(model, weights, directory)
    return model


def _language_config(path: Path) -> LlamaConfig:
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


def _existing(path: Path, what: str) -> Path:
    if not path.is_dir():
        raise InputError(f"{what}: {path} is not a folder; a released checkpoint does not hold it, name a folder.")
    return path


def read_checkpoint(directory: Path) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a checkpoint, shard after shard.

    Raises:
        InputError: no weights there, a shard that is missing, or one that is not plain tensors.
    """
    for file in _weight_files(directory):
        try:
            if file.suffix == ".safetensors":
                yield from load_file(file).items()
            else:
                yield from torch.load(file, map_location="cpu", weights_only=True).items()
        except (OSError, RuntimeError, UnpicklingError) as error:
            raise InputError(f"{file} cannot be read as plain tensors: {error}.") from error


def _weight_files(directory: Path) -> list[Path]:
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = directory / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return [directory / Path(shard).name for shard in shards]
        if (directory / name).is_file():
            return [directory / name]
    raise InputError(f"{directory} holds no weights (model.safetensors or pytorch_model.bin, or their index).")


def _is_weight(name: str) -> bool:
    return not name.endswith("rotary_emb.inv_freq") and "vision_tower" not in name


def _rename(name: str) -> str:
    for theirs, ours in _PREFIXES:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _lost(name: str, tensor: Tensor) -> Tensor:
    is_gamma = ".memory_encoder.fuser." in name and name.endswith(".gamma")
    return torch.full_like(tensor, LOST_GAMMA) if is_gamma else tensor


def _load(model: GLUS, weights: Mapping[str, Tensor], directory: Path) -> None:
    own: dict[str, Any] = {
        name: value for name, value in model.state_dict().items() if not name.startswith("mllm.vision_tower.")
    }
    faults = tensor_faults(own, weights)
    if faults:
        raise InputError(f"{directory} does not fit the model: {faults}.")
    model.load_state_dict(dict(weights), strict=False)
