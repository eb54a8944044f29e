"""A GLUS in a folder of its own, and its model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig

from glus.errors import InputError
from glus.files import hash_file, read_json
from glus.model.assembly import assemble
from glus.model.glus import GlusModel, GlusSettings
from glus.processing.tokenizer import LlamaSentencePiece
from glus.processing.transforms import build_clip_processor
from glus.weights.clip import SIZES as CLIP_SIZES
from glus.weights.folder import CONFIG, WEIGHTS, load_weights, require_format, write_folder
from glus.weights.released import LANGUAGE_SIZES
from glus.weights.tensor_files import require_sizes

FORMAT, FORMAT_VERSION = "glus", 1


def save_glus(model: GlusModel, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Writes a model so that `load_glus` needs nothing else.

    Args:
        model: gives the shapes, the tokenizer and the settings.
        weights: its state with adapters merged.
        directory: is created.
    """
    config = {
        "settings": asdict(model.settings),
        "vision": model.vision_tower.config.to_dict(),
        "language": model.language_model.config.to_dict(),
        "sam2": model.masks.config,
    }
    write_folder(directory, FORMAT, FORMAT_VERSION, config, [model.tokenizer], weights)


def load_glus(directory: Path) -> GlusModel:
    """Loads a model that `save_glus` wrote; tensors have the types that they were saved with.

    Raises:
        InputError: not a saved model, or tensors that are missing, unexpected or of another shape (each named).
    """
    config = read_model_config(directory)
    model = assemble(
        CLIPVisionModel(CLIPVisionConfig.from_dict(config["vision"])),
        LlamaConfig.from_dict(config["language"]),
        config["sam2"],
        LlamaSentencePiece.from_pretrained(directory),
        build_clip_processor(int(config["vision"]["image_size"])),
        GlusSettings(**config["settings"]),
    )
    load_weights(model, directory / WEIGHTS)
    return model


def write_model_card(directory: Path, facts: Mapping[str, str]) -> None:
    """Writes `README.md` beside a saved model: what it is made from, its sizes, how to use it.

    Args:
        facts: name -> value, e.g. where the weights came from.
    """
    config = read_model_config(directory)
    language, vision, settings = config["language"], config["vision"], config["settings"]
    rows = {
        **facts,
        "Language model": f"LLaMA, {language['num_hidden_layers']} layers, width {language['hidden_size']},"
        f" vocabulary {language['vocab_size']}",
        "Vision": f"CLIP, {vision['num_hidden_layers']} layers, {vision['image_size']} px",
        "Frames": f"{settings['num_context_frames']} context, {settings['num_query_frames']} query",
        "[SEG] read from": f"the {settings['seg_layer']} layer",
        "SHA-256 of the weights": hash_file(directory / WEIGHTS),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    text = (
        "# GLUS: referring video object segmentation\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        "```python\nfrom glus import GLUS, segment_video\n\n"
        'masks = segment_video(load_model("."), "video.mp4", ["the dog on the left"]).masks\n```\n\n'
        "The weights keep the licences of what they were made from (LLaMA, CLIP, SAM-2, the training data).\n"
    )
    (directory / "README.md").write_text(text, encoding="utf-8")


def read_model_config(directory: Path) -> dict[str, Any]:
    """Reads and checks `config.json`.

    Raises:
        InputError: no such file, not JSON, of another format, or without something that a model needs.
    """
    path = directory / CONFIG
    if not path.is_file():
        raise InputError(f"{directory} holds no model ({CONFIG} is missing).")
    config = read_json(path)
    require_format(config, FORMAT, FORMAT_VERSION, path)
    if missing := [name for name in ("settings", "vision", "language", "sam2") if name not in config]:
        raise InputError(f"{path} lacks {', '.join(missing)}.")
    require_sizes(config["vision"], CLIP_SIZES, f"{path}, vision")
    require_sizes(config["language"], LANGUAGE_SIZES, f"{path}, language")
    wanted = {field.name for field in fields(GlusSettings)}
    if config["settings"].keys() != wanted:
        differing = ", ".join(sorted(config["settings"].keys() ^ wanted))
        raise InputError(f"{path}, settings: missing or not known: {differing}.")
    return config
