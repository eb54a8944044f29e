"""Which parameters a phase trains, by the names of parts that `params.yaml` uses."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

from glus.errors import ConfigError

# The first pattern that matches a parameter's name decides its part.
PARTS: dict[str, str] = {
    "lora": r"\blora_[AB]\b",
    "vision_tower": r"\bvision_tower\b",
    "mm_projector": r"\bmm_projector\b",
    "embeddings": r"\bembed_tokens\b",
    "lm_head": r"\blm_head\b",
    "language": r"\blanguage_model\b",
    "text_hidden_fcs": r"\btext_hidden_fcs\b",
    "score_head": r"\bscore_head\b",
    "image_encoder": r"\bsam2\.(image_encoder|sam_mask_decoder\.conv_s[01])\b",
    "mask_decoder": r"\bsam2\.sam_mask_decoder\b",
    "prompt_encoder": r"\bsam2\.sam_prompt_encoder\b",
    "memory_encoder": r"\bsam2\.memory_encoder\b",
    "memory_attention": r"\bsam2\.(memory_attention|no_mem_embed)\b",
}


def part_of(name: str) -> str | None:
    """The part that a parameter belongs to, or None."""
    return next((part for part, pattern in PARTS.items() if re.search(pattern, name)), None)


def select_parameters(module: nn.Module, parts: Iterable[str]) -> dict[str, nn.Parameter]:
    """Parameters of the named parts, by name.

    Raises:
        ConfigError: a part that the module does not have.
    """
    wanted = set(parts)
    chosen = {name: parameter for name, parameter in module.named_parameters() if part_of(name) in wanted}
    missing = wanted - {part_of(name) for name in chosen}
    if missing:
        raise ConfigError(f"trainable: the model has no part called {', '.join(sorted(missing))}.")
    return chosen
