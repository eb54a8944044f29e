"""A selector in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.files import read_json
from glus.model.assembly import language_model_without_weights
from glus.processing.tokenizer import LlamaSentencePiece
from glus.selector.model import SelectorModel, build_score_head
from glus.weights.folder import CONFIG, WEIGHTS, load_weights, require_format, write_folder

FORMAT, FORMAT_VERSION = "glus_selector", 1


def save_selector(model: SelectorModel, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Writes a model so that `load_selector` needs nothing else.

    Args:
        model: gives the shapes, the tokenizer and the image processor.
        weights: its state with adapters merged.
        directory: is created.
    """
    config = {
        "vision": model.vision_tower.config.to_dict(),
        "language": model.language_model.config.to_dict(),
        "clusters": model.token_merging.clusters,
        "neighbours": model.token_merging.neighbours,
        "head_size": model.head_size,
    }
    write_folder(directory, FORMAT, FORMAT_VERSION, config, [model.image_processor, model.tokenizer], weights)


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
    require_format(config, FORMAT, FORMAT_VERSION, path)
    return config
