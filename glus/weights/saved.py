"""A GLUS in a folder of its own, and its model card."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig

from glus.errors import InputError
from glus.files import read_json
from glus.manifest import verify_where_listed
from glus.model.assembly import VISION_TOWER, assemble
from glus.model.glus import GlusModel, GlusSettings
from glus.model.lora import is_adapted
from glus.processing.tokenizer import LlamaSentencePiece
from glus.processing.transforms import build_clip_processor
from glus.weights.adapters import merge_adapter
from glus.weights.bases import (
    WHERE_IT_LAY,
    Elsewhere,
    describe_base,
    find_base,
    recorded_base,
    require_parts,
    weights_sha256,
)
from glus.weights.clip import SIZES as CLIP_SIZES
from glus.weights.clip import tower_tensors
from glus.weights.folder import (
    CONFIG,
    WEIGHTS,
    holds_adapter,
    require_format,
    require_types,
    write_folder,
    write_tensors,
)
from glus.weights.lisa import MASKS, is_lisa, lisa_tensors, read_sam2
from glus.weights.released import LANGUAGE_SIZES, held_as, is_released, is_weight, rename
from glus.weights.tensor_files import fill, read_renamed, require_sizes
from glus.weights.trained import saved_tensors, write_trained

FORMAT, FORMAT_VERSION = "glus", 1
LANGUAGE_MODEL = "mllm.language_model"
MAPPINGS = ("settings", "vision", "language", "sam2")  # of config.json


def save_glus(model: GlusModel, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Writes a whole model, which `load_glus` reads without anything else.

    Args:
        model: gives the shapes, the tokenizer and the settings.
        weights: its state with adapters merged.
        directory: is created.
    """
    write_folder(directory, FORMAT, FORMAT_VERSION, _config(model), [model.tokenizer])
    write_tensors(weights, directory / WEIGHTS)


def save_trained_glus(model: GlusModel, trained: Collection[str], base: Mapping[str, str], directory: Path) -> None:
    """Writes what training made of a base: adapters in peft's own files, the parts trained in full, the base's hash.

    Args:
        model: with its adapters.
        trained: names of the parameters that were trained.
        base: `base`, and where that needs them `vision_tower` and `sam2_weights` -> path.
        directory: is created.
    """
    described = {part: asdict(place) for part, place in describe_base(base).items()}
    config = {**_config(model), "base": described, "adapted": is_adapted(model.language_model)}
    write_folder(directory, FORMAT, FORMAT_VERSION, config, [model.tokenizer])
    places = {part: Path(path) for part, path in base.items()}
    write_trained(model, LANGUAGE_MODEL, trained, _base_tensors(places), base["base"], directory)


def _config(model: GlusModel) -> dict[str, Any]:
    return {
        "settings": asdict(model.settings),
        "vision": model.vision_tower.config.to_dict(),
        "language": model.language_model.config.to_dict(),
        "sam2": model.masks.config,
    }


def load_glus(directory: Path, elsewhere: Elsewhere = WHERE_IT_LAY, *, dtype: str | None = None) -> GlusModel:
    """Loads a model that `save_glus` or `save_trained_glus` wrote.

    Args:
        directory: of the model.
        elsewhere: other places for parts of the base, see `find_base`.
        dtype: see `glus.weights.released.held_as`.

    Raises:
        InputError: not a saved model, tensors that are missing, unexpected or of another shape (each named), or a base
            that is missing or another one.
        ArtifactError: files that are not those of the manifest beside them, where there is one; names the file.
    """
    verify_where_listed(directory)
    config = read_model_config(directory)
    adapted = holds_adapter(directory, config)
    parts = find_base(directory, recorded_base(directory), elsewhere)
    model = assemble(
        CLIPVisionModel(CLIPVisionConfig.from_dict(config["vision"])),
        LlamaConfig.from_dict(config["language"]),
        config["sam2"],
        LlamaSentencePiece.from_pretrained(directory),
        build_clip_processor(int(config["vision"]["image_size"])),
        GlusSettings(**config["settings"]),
    )
    origin = directory if parts else directory / WEIGHTS
    fill(model, saved_tensors(directory, parts, _base_tensors), str(origin), type_of=held_as(dtype))
    if adapted:
        merge_adapter(model, LANGUAGE_MODEL, directory)
    return model


def unmerged_tensors(directory: Path, elsewhere: Elsewhere = WHERE_IT_LAY) -> Iterator[tuple[str, Tensor]]:
    """A saved model's tensors by name, its adapter not merged; arguments and errors as `load_glus`."""
    return saved_tensors(directory, find_base(directory, recorded_base(directory), elsewhere), _base_tensors)


def _base_tensors(parts: Mapping[str, Path]) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a base by our names: LISA, or a GLUS of either format."""
    base = parts["base"]
    if not is_released(base):
        yield from load_glus(base).state_dict().items()
        return
    require_parts(parts, ("vision_tower", "sam2_weights") if is_lisa(base) else ("vision_tower",))
    yield from lisa_tensors(base) if is_lisa(base) else read_renamed(base, is_weight, rename)
    yield from ((VISION_TOWER + name, tensor) for name, tensor in tower_tensors(parts["vision_tower"]))
    if "sam2_weights" in parts:
        yield from ((MASKS + name, tensor) for name, tensor in read_sam2(parts["sam2_weights"]).items())


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
        **{f"SHA-256 of the {part}": place.sha256 for part, place in recorded_base(directory).items()},
        "SHA-256 of the weights": weights_sha256(directory),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    text = (
        "# GLUS: referring video object segmentation\n\n"
        "GLUS gets a video and a sentence, and marks in every frame the object that the sentence means.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        "```python\nfrom glus import GLUS, segment_video\n\n"
        'model = GLUS.from_pretrained(".")\n'
        'masks = segment_video(model, "video.mp4", ["the dog on the left"]).masks\n```\n\n'
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
    if missing := [name for name in MAPPINGS if name not in config]:
        raise InputError(f"{path} lacks {', '.join(missing)}.")
    if mistyped := [name for name in MAPPINGS if not isinstance(config[name], dict)]:
        raise InputError(f"{path}: {', '.join(mistyped)}: expected an object with named values.")
    require_sizes(config["vision"], CLIP_SIZES, f"{path}, vision")
    require_sizes(config["language"], LANGUAGE_SIZES, f"{path}, language")
    wanted = {field.name for field in fields(GlusSettings)}
    if config["settings"].keys() != wanted:
        differing = ", ".join(sorted(config["settings"].keys() ^ wanted))
        raise InputError(f"{path}, settings: missing or not known: {differing}.")
    require_types(GlusSettings, config["settings"], f"{path}, settings")
    return config
