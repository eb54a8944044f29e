"""Models on disk: safetensors, one JSON file, the tokenizer. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from glus.data.tokenizer import LlamaSentencePiece
from glus.data.transforms import FrameTransform, build_clip_processor
from glus.errors import InputError
from glus.model.glus import GLUS, GlusSettings
from glus.model.mllm import MultimodalLanguageModel
from glus.model.sam2 import MaskBranch
from glus.model.scratch import build_text_hidden_fcs

FORMAT, FORMAT_VERSION = "glus", 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_glus(model: GLUS, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Writes a model so that `load_glus` needs nothing else.

    Args:
        model: gives the shapes, the tokenizer and the settings.
        weights: its state with adapters merged.
        directory: is created.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "settings": asdict(model.settings),
        "vision": model.vision_tower.config.to_dict(),
        "language": model.language_model.config.to_dict(),
        "sam2": model.masks.config,
    }
    (directory / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    model.tokenizer.save_pretrained(directory)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, directory / WEIGHTS)


def load_glus(directory: Path) -> GLUS:
    """Loads a model that `save_glus` wrote, as float32.

    Raises:
        InputError: not a saved model, or tensors that are missing, unexpected or of another shape (each named).
    """
    config = read_model_config(directory)
    tokenizer = LlamaSentencePiece.from_pretrained(directory)
    settings = GlusSettings(**config["settings"])
    vision = CLIPVisionConfig.from_dict(config["vision"])
    language = LlamaConfig.from_dict(config["language"])
    masks = MaskBranch(config["sam2"])
    mllm = MultimodalLanguageModel(
        CLIPVisionModel(vision),
        nn.Linear(vision.hidden_size, language.hidden_size),
        LlamaForCausalLM(language),
        token_pool=settings.token_pool,
        seg_layer=settings.seg_layer,
    )
    transform = FrameTransform(build_clip_processor(int(config["vision"]["image_size"])), masks.image_size)
    projector = build_text_hidden_fcs(language.hidden_size, masks.sam2.hidden_dim)
    model = GLUS(mllm, projector, masks, tokenizer, transform, settings)
    load_weights(model, directory / WEIGHTS)
    return model


def read_model_config(directory: Path) -> dict[str, Any]:
    """Reads and checks `config.json`.

    Raises:
        InputError: no such file, not JSON, or of another format.
    """
    path = directory / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{directory} holds no model ({CONFIG} is missing).") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error
    found = config.get("format"), config.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        raise InputError(
            f"{path}: found format {found[0]} version {found[1]}, expected {FORMAT} version {FORMAT_VERSION}."
        )
    return config


def load_weights(module: nn.Module, file: Path) -> None:
    """Loads a safetensors file into a module of the same names and shapes.

    Raises:
        InputError: unreadable, or tensors that are missing, unexpected or of another shape (each named).
    """
    try:
        weights = load_file(file)
    except (FileNotFoundError, SafetensorError) as error:
        raise InputError(f"{file} cannot be read as safetensors: {error}.") from error
    faults = tensor_faults(module.state_dict(), weights)
    if faults:
        raise InputError(f"{file} does not fit the model: {faults}.")
    module.load_state_dict(weights)


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
