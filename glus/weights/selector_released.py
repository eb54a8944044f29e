"""Published folders of the selector's kind: Chat-UniVi, and the merged selector of the GLUS authors.

Neither holds its CLIP tower (a copy in Chat-UniVi's files is ignored, as by its own loader). Nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from glus.errors import InputError
from glus.files import read_json
from glus.model.assembly import language_model_without_weights
from glus.processing.sentences import SCORE
from glus.processing.tokenizer import LlamaSentencePiece
from glus.selector.model import SelectorModel, add_score_token, build_score_head
from glus.weights.clip import load_clip_processor, load_vision_tower
from glus.weights.released import is_weight, language_config, model_type
from glus.weights.tensor_files import fill, read_renamed, tensor_names

CLUSTERS, NEIGHBOURS, HEAD_SIZE = (64, 32, 16), (5, 3, 3), 256
HEAD_SEED = 0
_READS = {"mm_vision_select_layer": -2, "mm_vision_select_feature": "patch"}  # what `encode_patches` does
_HEAD = "score_head."
_PREFIXES = (("model.mm_projector.", "mm_projector."), ("model.text_hidden_fcs.0.", _HEAD), ("", "language_model."))


def is_published(directory: Path) -> bool:
    """Whether a folder holds Chat-UniVi's format."""
    return model_type(directory) == "ChatUniVi"


def load_published(directory: Path, *, vision_tower: Path, dtype: str | None = None) -> SelectorModel:
    """Loads a merged selector, or Chat-UniVi with a fresh score head (always the same one) and a fresh `[SCORE]`.

    Args:
        directory: `config.json`, weights (`.bin` or safetensors, whole or sharded), slow LLaMA tokenizer.
        vision_tower: folder of the CLIP tower and its image processor.
        dtype: see `held_as`.

    Raises:
        InputError: files that are missing or unreadable, tensors that are missing, unexpected or misshapen (named), or
            a vocabulary that is not the language model's.
    """
    is_selector = any(_rename(name).startswith(_HEAD) for name in tensor_names(directory))
    model = _empty(directory, vision_tower)
    apart = ("vision_tower.",) if is_selector else ("vision_tower.", _HEAD)
    fill(model, published_tensors(directory), str(directory), apart=apart, type_of=held_as(dtype))
    if SCORE not in model.tokenizer.added_tokens:
        if is_selector:
            raise InputError(
                f"{directory} has a score head, but its tokenizer has no {SCORE}; take both from one place."
            )
        _check_sizes(model, directory)
        add_score_token(model.language_model, model.tokenizer)
    model.check_vocabulary(str(directory))
    return model


def published_tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a published folder by our names."""
    return read_renamed(directory, is_weight, _rename)


def held_as(dtype: str | None) -> Callable[[str], torch.dtype | None]:
    """In which type a tensor is held: the score head in float32, the rest in the given one; None: all as stored."""
    if dtype is None:
        return lambda name: None
    given = getattr(torch, dtype)
    return lambda name: torch.float32 if name.startswith(_HEAD) else given


def _empty(directory: Path, vision_tower: Path) -> SelectorModel:
    tower = load_vision_tower(vision_tower)
    path = directory / "config.json"
    language = language_config(path)
    config = read_json(path)
    _check_reads(config, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(HEAD_SEED)
        return SelectorModel(
            vision_tower=tower,
            mm_projector=nn.Linear(tower.config.hidden_size, language.hidden_size),
            language_model=language_model_without_weights(language),
            tokenizer=LlamaSentencePiece.from_pretrained(directory),
            image_processor=load_clip_processor(vision_tower),
            clusters=_clusters(config, path),
            neighbours=NEIGHBOURS,
            score_head=build_score_head(language.hidden_size, config.get("out_dim", HEAD_SIZE)),
        )


def _check_sizes(model: SelectorModel, directory: Path) -> None:
    """Refuses a tokenizer of another model before a token is added to both.

    Raises:
        InputError: names both numbers.
    """
    rows = model.language_model.get_input_embeddings().num_embeddings
    if len(model.tokenizer) != rows:
        raise InputError(
            f"{directory}: its tokenizer has {len(model.tokenizer)} tokens, its language model {rows} embeddings;"
            " take both from one place."
        )


def _check_reads(config: Mapping[str, Any], path: Path) -> None:
    """Refuses a checkpoint that reads its CLIP tower in another way.

    Raises:
        InputError: names the entry of the configuration.
    """
    for name, expected in _READS.items():
        if config.get(name, expected) != expected:
            raise InputError(f"{path}: {name} is {config[name]}, only {expected} is supported.")


def _clusters(config: Mapping[str, Any], path: Path) -> list[int]:
    """Tokens left by each stage of the merging; without an entry those that the published training sets.

    Raises:
        InputError: an entry that is a share of the tokens instead of their number.
    """
    rates = config.get("config", {})
    clusters = [rates.get(f"spatial_cluster_rate{stage}", count) for stage, count in enumerate(CLUSTERS)]
    for stage, count in enumerate(clusters):
        if not isinstance(count, int):
            raise InputError(f"{path}: config.spatial_cluster_rate{stage} is {count}, a whole number is supported.")
    return clusters


def _rename(name: str) -> str:
    theirs, ours = next(pair for pair in _PREFIXES if name.startswith(pair[0]))
    return ours + name.removeprefix(theirs)
