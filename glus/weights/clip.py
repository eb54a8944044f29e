"""The CLIP tower and its image processor from a folder of their own, as published checkpoints need them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.errors import InputError
from glus.files import read_json
from glus.weights.tensor_files import fill, read_checkpoint, require_sizes

SIZES = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size",
)  # fmt: skip
_BESIDE = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")  # of a whole CLIP


def load_vision_tower(folder: Path) -> CLIPVisionModel:
    """The CLIP tower of a folder, float32; the folder may hold a whole CLIP.

    Raises:
        InputError: no such folder, not CLIP, or tensors that are missing, unexpected or misshapen (named).
    """
    if not folder.is_dir():
        raise InputError(f"vision tower: {folder} is not a folder; the checkpoint does not hold it, name a folder.")
    file = folder / "config.json"
    config = read_json(file)
    if config.get("model_type") not in ("clip", "clip_vision_model"):
        raise InputError(f"{file}: model_type is {config.get('model_type')!r}, expected that of CLIP.")
    vision = config.get("vision_config", config)
    require_sizes(vision, SIZES, file)
    tower = CLIPVisionModel(CLIPVisionConfig.from_dict(vision))
    fill(tower, tower_tensors(folder), str(folder), type_of=lambda name: torch.float32)
    return tower.eval()


def tower_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of the tower alone, of a folder that may hold a whole CLIP."""
    for name, tensor in read_checkpoint(folder):
        if not name.startswith(_BESIDE) and not name.endswith("position_ids"):
            yield name, tensor


def load_clip_processor(folder: Path) -> CLIPImageProcessorPil:
    """The image processor of a CLIP folder, by PIL as published.

    Raises:
        InputError: no `preprocessor_config.json` there, or not JSON.
    """
    read_json(folder / "preprocessor_config.json")
    return CLIPImageProcessorPil.from_pretrained(folder)
