"""A selector in a folder of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PositiveInt
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.files import read_json
from glus.manifest import verify_where_listed
from glus.model.assembly import language_model_without_weights
from glus.model.lora import is_adapted
from glus.processing.tokenizer import LlamaSentencePiece
from glus.selector.model import SelectorModel, build_score_head
from glus.weights.adapters import merge_adapter
from glus.weights.bases import WHERE_IT_LAY, Elsewhere, describe_base, find_base, recorded_base, require_parts
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
from glus.weights.released import LANGUAGE_SIZES
from glus.weights.selector_released import held_as, is_published, published_tensors
from glus.weights.tensor_files import fill, require_sizes
from glus.weights.trained import saved_tensors, write_trained

FORMAT, FORMAT_VERSION = "glus_selector", 1
LANGUAGE_MODEL, VISION_TOWER = "language_model", "vision_tower."


def save_selector(model: SelectorModel, weights: Mapping[str, Tensor], directory: Path) -> None:
    """Writes a whole model, which `load_selector` reads without anything else.

    Args:
        model: gives the shapes, the tokenizer and the image processor.
        weights: its state with adapters merged.
        directory: is created.
    """
    write_folder(directory, FORMAT, FORMAT_VERSION, _config(model), [model.image_processor, model.tokenizer])
    write_tensors(weights, directory / WEIGHTS)


def save_trained_selector(
    model: SelectorModel, trained: Collection[str], base: Mapping[str, str], directory: Path
) -> None:
    """Writes what training made of a base: adapters in peft's own files, the parts trained in full, the base's hash.

    Args:
        model: with its adapters.
        trained: names of the parameters that were trained.
        base: `base`, and where that needs it `vision_tower` -> path.
        directory: is created.
    """
    described = {part: asdict(place) for part, place in describe_base(base).items()}
    config = {**_config(model), "base": described, "adapted": is_adapted(model.language_model)}
    write_folder(directory, FORMAT, FORMAT_VERSION, config, [model.image_processor, model.tokenizer])
    places = {part: Path(path) for part, path in base.items()}
    write_trained(model, LANGUAGE_MODEL, trained, _base_tensors(places), base["base"], directory)


class _SelectorValues(BaseModel):
    """What is in a selector's `config.json`."""

    vision: dict[str, Any]
    language: dict[str, Any]
    clusters: list[PositiveInt]
    neighbours: list[PositiveInt]
    head_size: PositiveInt


def _config(model: SelectorModel) -> dict[str, Any]:
    return {
        "vision": model.vision_tower.config.to_dict(),
        "language": model.language_model.config.to_dict(),
        "clusters": model.token_merging.clusters,
        "neighbours": model.token_merging.neighbours,
        "head_size": model.head_size,
    }


def load_selector(directory: Path, elsewhere: Elsewhere = WHERE_IT_LAY, *, dtype: str | None = None) -> SelectorModel:
    """Loads a model that `save_selector` or `save_trained_selector` wrote.

    Args:
        directory: of the model.
        elsewhere: other places for parts of the base, see `find_base`.
        dtype: see `glus.weights.selector_released.held_as`.

    Raises:
        InputError: not a saved selector, one for another vocabulary, tensors that are missing, unexpected or of another
            shape (each named), or a base that is missing or another one.
        ArtifactError: files that are not those of the manifest beside them, where there is one; names the file.
    """
    verify_where_listed(directory)
    config = _read_config(directory / CONFIG)
    adapted = holds_adapter(directory, config)
    parts = find_base(directory, recorded_base(directory), elsewhere)
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
    origin = directory if parts else directory / WEIGHTS
    fill(model, saved_tensors(directory, parts, _base_tensors), str(origin), type_of=held_as(dtype))
    if adapted:
        merge_adapter(model, LANGUAGE_MODEL, directory)
    return model


def unmerged_tensors(directory: Path, elsewhere: Elsewhere = WHERE_IT_LAY) -> Iterator[tuple[str, Tensor]]:
    """A saved selector's tensors by name, its adapter not merged; arguments and errors as `load_selector`."""
    return saved_tensors(directory, find_base(directory, recorded_base(directory), elsewhere), _base_tensors)


def _base_tensors(parts: Mapping[str, Path]) -> Iterator[tuple[str, Tensor]]:
    """All tensors of a base by our names: Chat-UniVi, or a selector of either format."""
    base = parts["base"]
    if not is_published(base):
        yield from load_selector(base).state_dict().items()
        return
    require_parts(parts, ("vision_tower",))
    yield from published_tensors(base)
    yield from ((VISION_TOWER + name, tensor) for name, tensor in tower_tensors(parts["vision_tower"]))


def _read_config(path: Path) -> dict[str, Any]:
    """Reads a selector's `config.json`.

    Raises:
        InputError: missing, unreadable, of another model, or with values that no model can have.
    """
    config = read_json(path)
    require_format(config, FORMAT, FORMAT_VERSION, path)
    require_types(_SelectorValues, config, path)
    require_sizes(config["vision"], CLIP_SIZES, f"{path}, vision")
    require_sizes(config["language"], LANGUAGE_SIZES, f"{path}, language")
    return config
