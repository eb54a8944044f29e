"""The selector's own folder: safetensors, one JSON file, the tokenizer, the image processor. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.errors import InputError
from glus.files import read_json
from glus.model.assembly import language_model_without_weights
from glus.processing.tokenizer import LlamaSentencePiece
from glus.selector.model import SelectorModel, build_score_head
from glus.weights.saved import CONFIG, WEIGHTS, load_weights

FORMAT, FORMAT_VERSION = "glus_selector", 1


def save_selector(model: SelectorModel, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Writes a model so that `load_selector` needs nothing else.

    Args:
        model: gives the shapes, the tokenizer and the image processor.
        weights: its state with adapters merged.
        directory: is created.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "vision": model.vision_tower.config.to_dict(),
        "language": model.language_model.config.to_dict(),
        "clusters": model.token_merging.clusters,
        "neighbours": model.token_merging.neighbours,
        "head_size": model.head_size,
    }
    (directory / CONFIG).write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    model.image_processor.save_pretrained(directory)
    model.tokenizer.save_pretrained(directory)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, directory / WEIGHTS)


def load_selector(directory: Path) -> SelectorModel:
    """Loads a model that `save_selector` wrote; tensors have the types that they were saved with.

    Raises:
        InputError: not a saved selector, one for another vocabulary, or tensors that are missing, unexpected or of
            another shape (each named).
    """
    config = _read_config(directory / CONFIG)
    language = LlamaConfig.from_dict(config["language"])
    vision = CLIPVisionConfig.from_dict(config["vision"])
    model = SelectorModel(
        vision_tower=CLIPVisionModel(vision),
        mm_projector=nn.Linear(vision.hidden_size, language.hidden_size),
        language_model=language_model_without_weights(language),
        tokenizer=LlamaSentencePiece.from_pretrained(directory),
        image_processor=CLIPImageProcessorPil.from_pretrained(directory),
        clusters=config["clusters"],
        neighbours=config["neighbours"],
        score_head=build_score_head(language.hidden_size, config["head_size"]),
    )
    model.check_vocabulary(str(directory))
    load_weights(model, directory / WEIGHTS)
    return model


def _read_config(path: Path) -> dict[str, Any]:
    """Reads a selector's `config.json`.

    Raises:
        InputError: missing, unreadable, or of another model.
    """
    config = read_json(path)
    found = config.get("format"), config.get("format_version")
    if found != (FORMAT, FORMAT_VERSION):
        raise InputError(
            f"{path}: found format {found[0]} version {found[1]}, expected {FORMAT} version {FORMAT_VERSION}."
        )
    return config
