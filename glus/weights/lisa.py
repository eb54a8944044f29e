"""A fresh GLUS to train, from LISA, SAM-2 and CLIP (paper 5.2; reference on GLUS, section 12).

LLaMA, its embeddings, both projectors come from LISA; SAM-1, which LISA carries, is left behind.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from glus.errors import InputError
from glus.model.assembly import VISION_TOWER, assemble
from glus.model.glus import GlusModel, GlusSettings
from glus.model.sam2 import load_sam2_config
from glus.processing.sentences import IM_END, IM_START, SEG
from glus.processing.tokenizer import LlamaSentencePiece
from glus.weights.clip import load_clip_processor, load_vision_tower
from glus.weights.released import is_weight, language_config, rename
from glus.weights.tensor_files import fill, read_plain, read_renamed, tensor_names

logger = logging.getLogger(__name__)

SAM1 = "model.visual_model."
MASKS = "masks.sam2."
_WORDS = ("mllm.language_model.model.embed_tokens.weight", "mllm.language_model.lm_head.weight")


@dataclass(frozen=True)
class FreshGlus:
    """What came of LISA and SAM-2.

    Attributes:
        model: ready to train.
        dropped: names of LISA's tensors that have no place in GLUS: SAM-1.
        added_tokens: tokens that LISA did not know, with new embeddings.
    """

    model: GlusModel
    dropped: tuple[str, ...]
    added_tokens: tuple[str, ...]


def build_from_lisa(
    directory: Path, *, vision_tower: Path, sam2_config: str, sam2_weights: Path, settings: GlusSettings, seed: int = 0
) -> FreshGlus:
    """Puts a GLUS together from a LISA checkpoint, a SAM-2 file and a CLIP folder.

    Args:
        directory: LISA: `config.json`, weights (`.bin` or safetensors, whole or sharded), slow LLaMA tokenizer.
        vision_tower: folder of the CLIP tower and its image processor.
        sam2_config: name of a configuration of the sam2 package, or a YAML file.
        sam2_weights: the `.pt` of that configuration, as published.
        settings: what is trained for.
        seed: of the embeddings of tokens that LISA does not know.

    Raises:
        InputError: files that are missing or unreadable, or tensors that are missing, unexpected or misshapen (named).
    """
    tokenizer = LlamaSentencePiece.from_pretrained(directory)
    known = len(tokenizer)
    added = tuple(token for token in (SEG, IM_START, IM_END) if token not in tokenizer.added_tokens)
    tokenizer.add_tokens(added)
    language = language_config(directory / "config.json")
    language.vocab_size = len(tokenizer)
    model = assemble(
        load_vision_tower(vision_tower),
        language,
        load_sam2_config(sam2_config),
        tokenizer,
        load_clip_processor(vision_tower),
        settings,
    )

    def with_new_rows() -> Iterator[tuple[str, Tensor]]:
        for name, tensor in lisa_tensors(directory):
            grown = name in _WORDS
            origin = f"{directory}, {name}"
            yield name, _with_new_rows(tensor, known, len(tokenizer), seed, origin) if grown else tensor

    fill(model, with_new_rows(), str(directory), apart=(VISION_TOWER, MASKS))
    fill(model.masks.sam2, read_sam2(sam2_weights).items(), str(sam2_weights))
    dropped = [name for name in tensor_names(directory) if name.startswith(SAM1)]
    logger.info("%s: %d tensors of SAM-1 left behind, new tokens: %s", directory, len(dropped), " ".join(added) or "-")
    return FreshGlus(model, tuple(sorted(dropped)), added)


def lisa_tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    """What GLUS takes over from a LISA checkpoint, by our names."""
    return read_renamed(directory, lambda name: is_weight(name) and not name.startswith(SAM1), rename)


def is_lisa(directory: Path) -> bool:
    """Whether a LLaVA-like checkpoint holds LISA, not GLUS: it has no memory."""
    return not any(name.startswith(f"{SAM1}memory_attention.") for name in tensor_names(directory))


def read_sam2(file: Path) -> dict[str, Tensor]:
    """The tensors of a published SAM-2 file.

    Raises:
        InputError: no such file, or not plain tensors under `model`.
    """
    content = read_plain(file)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise InputError(f"{file} has no entry `model`; a file as SAM-2 publishes it is expected.")
    return content["model"]


def _with_new_rows(weight: Tensor, known: int, wanted: int, seed: int, origin: str) -> Tensor:
    """Rows for tokens that LISA does not know, drawn like the others were: normal, standard deviation 0.02."""
    if len(weight) != known:
        raise InputError(f"{origin} has {len(weight)} rows, its tokenizer {known} tokens.")
    rows = torch.randn(wanted - known, weight.shape[1], generator=torch.Generator().manual_seed(seed)) * 0.02
    return torch.cat([weight, rows.to(weight.dtype)])
