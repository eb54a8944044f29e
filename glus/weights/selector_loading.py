"""A key-frame selector from a folder, whichever format it has, ready to use."""

from __future__ import annotations

from pathlib import Path

import torch

from glus.errors import InputError
from glus.selector.model import SelectorModel
from glus.weights.selector_released import is_published, load_published
from glus.weights.selector_saved import load_selector


def load_selector_model(
    path: str | Path,
    *,
    dtype: str | None = "float32",
    device: str | torch.device = "cpu",
    base: str | Path | None = None,
    vision_tower: str | Path | None = None,
) -> SelectorModel:
    """Loads a saved selector, a published one, or Chat-UniVi (with a fresh score head), in evaluation mode.

    Args:
        path: a folder.
        dtype: of CLIP and the language model (`float32`, `bfloat16`, `float16`; None: as stored); the score
            head is float32.
        device: where to.
        base: of a selector of ours that holds only what was trained, where that does not lie where it lay.
        vision_tower: likewise; CLIP folder of a published checkpoint.

    Raises:
        InputError: not a selector's folder, a published one without its vision_tower, a base that is missing or another
            one, a tensor that is missing, unknown or misshapen, or a vocabulary that is not the language model's.
    """
    folder = Path(path)
    if is_published(folder):
        if vision_tower is None:
            raise InputError(f"{folder} is a published checkpoint: name its vision_tower, a CLIP folder.")
        model = load_published(folder, vision_tower=Path(vision_tower), dtype=dtype)
    else:
        model = load_selector(folder, {"base": base, "vision_tower": vision_tower}, dtype=dtype)
    if dtype is not None:
        model.to(getattr(torch, dtype))
    model.score_head.float()
    return model.to(device).eval()
