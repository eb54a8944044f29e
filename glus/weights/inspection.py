"""What a checkpoint holds, part by part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from glus.weights.adapters import read_adapter
from glus.weights.folder import ADAPTER, TRAINED
from glus.weights.released import is_weight, rename
from glus.weights.tensor_files import read_checkpoint, read_tensors

_PARTS = {  # the first pattern that a name begins with decides
    "vision tower": r"mllm\.vision_tower\.",
    "LoRA": r".*\.lora_[AB]\.",
    "mm_projector": r"mllm\.mm_projector\.",
    "embeddings": r"mllm\.language_model\.model\.embed_tokens\.",
    "LLaMA": r"mllm\.language_model\.model\.",
    "LM head": r"mllm\.language_model\.lm_head\.",
    "text_hidden_fcs": r"text_hidden_fcs\.",
    "SAM-2 image encoder": r"masks\.sam2\.image_encoder\.(trunk|neck\.convs)\.",
    "SAM-1 (LISA's, not used)": r"masks\.sam2\.(image_encoder|prompt_encoder|mask_decoder)\.",
    "SAM-2 prompt encoder": r"masks\.sam2\.sam_prompt_encoder\.",
    "SAM-2 mask decoder": r"masks\.sam2\.sam_mask_decoder\.",
    "SAM-2 memory attention": r"masks\.sam2\.memory_attention\.",
    "SAM-2 memory encoder": r"masks\.sam2\.memory_encoder\.",
    "SAM-2, other": r"masks\.sam2\.",
    "other": "",
}


@dataclass
class PartSummary:
    """Tensors of one part.

    Attributes:
        tensors: how many.
        parameters: their elements.
        dtypes: name of a type -> tensors.
    """

    tensors: int = 0
    parameters: int = 0
    dtypes: Counter[str] = field(default_factory=Counter)


def summarise(directory: Path) -> dict[str, PartSummary]:
    """Parts of a checkpoint of either format, in the model's order.

    Raises:
        InputError: no weights there, or not plain tensors.
    """
    found: dict[str, PartSummary] = {}
    for name, tensor in _tensors(directory):
        part = found.setdefault(_part(name), PartSummary())
        part.tensors += 1
        part.parameters += tensor.numel()
        part.dtypes[str(tensor.dtype).removeprefix("torch.")] += 1
    return {name: found[name] for name in _PARTS if name in found}


def _tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    if (directory / TRAINED).is_file():
        yield from read_tensors(directory / TRAINED).items()
        yield from read_adapter(directory)[0].items() if (directory / ADAPTER).is_file() else ()
        return
    for name, tensor in read_checkpoint(directory):
        if is_weight(name) or name.startswith("mllm."):
            yield rename(name), tensor


def _part(name: str) -> str:
    return next(part for part, pattern in _PARTS.items() if re.match(pattern, name))
