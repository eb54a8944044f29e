"""Published folders of the selector's kind: Chat-UniVi, and the merged selector of the GLUS authors.

Neither holds its CLIP tower (a copy in Chat-UniVi's files is ignored, as by its own loader). Nothing is unpickled.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.data.tokenizer import SCORE, LlamaSentencePiece
from glus.errors import InputError
from glus.model.assembly import fill, language_model_without_weights
from glus.model.released import is_weight, language_config, load_vision_tower, model_type, read_checkpoint
from glus.selector.model import KeyFrameSelector, add_score_token

CLUSTERS, NEIGHBOURS, HEAD_SIZE = (64, 32, 16), (5, 3, 3), 256
_HEAD = "score_head."
_PREFIXES = (("model.mm_projector.", "mm_projector."), ("model.text_hidden_fcs.0.", _HEAD), ("", "language_model."))


def is_published(directory: Path) -> bool:
    """Whether a folder holds Chat-UniVi's format."""
    return model_type(directory) == "ChatUniVi"


def load_published(directory: Path, *, vision_tower: Path, seed: int = 0) -> KeyFrameSelector:
    """Loads a merged selector, or Chat-UniVi with a fresh score head and a fresh `[SCORE]`.

    Args:
        directory: `config.json`, weights (`.bin` or safetensors, whole or sharded), slow LLaMA tokenizer.
        vision_tower: folder of the CLIP tower and its image processor.
        seed: of a fresh score head.

    Raises:
        InputError: files that are missing or unreadable, tensors that are missing, unexpected or misshapen (named), or
            a vocabulary that is not the language model's.
    """
    weights = {_rename(name): tensor for name, tensor in read_checkpoint(directory) if is_weight(name)}
    is_selector = any(name.startswith(_HEAD) for name in weights)
    model = _empty(directory, vision_tower, seed)
    apart = ("vision_tower.",) if is_selector else ("vision_tower.", _HEAD)
    fill(model, weights, str(directory), apart=apart)
    if SCORE not in model.tokenizer.added_tokens:
        if is_selector:
            raise InputError(
                f"{directory} has a score head, but its tokenizer has no {SCORE}; take both from one place."
            )
        add_score_token(model.language_model, model.tokenizer)
    model.check_vocabulary(str(directory))
    return model


def _empty(directory: Path, vision_tower: Path, seed: int) -> KeyFrameSelector:
    tower = load_vision_tower(vision_tower)
    language = language_config(directory / "config.json")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KeyFrameSelector(
            vision_tower=tower,
            mm_projector=nn.Linear(tower.config.hidden_size, language.hidden_size),
            language_model=language_model_without_weights(language),
            tokenizer=LlamaSentencePiece.from_pretrained(directory),
            image_processor=CLIPImageProcessorPil.from_pretrained(vision_tower),
            clusters=CLUSTERS,
            neighbours=NEIGHBOURS,
            head_size=HEAD_SIZE,
        )


def _rename(name: str) -> str:
    theirs, ours = next(pair for pair in _PREFIXES if name.startswith(pair[0]))
    return ours + name.removeprefix(theirs)
