"""A GLUS from a folder, whichever format it has, ready to use."""

from __future__ import annotations

from pathlib import Path

import torch

from glus.errors import InputError
from glus.model.glus import GlusModel
from glus.weights.released import is_released, load_released
from glus.weights.saved import load_glus


def load_model(
    path: str | Path,
    *,
    dtype: str | None = "float32",
    device: str | torch.device = "cpu",
    base: str | Path | None = None,
    vision_tower: str | Path | None = None,
    sam2_weights: str | Path | None = None,
    sam2_config: str | None = None,
    load_gamma: bool = True,
) -> GlusModel:
    """Loads a model of our own format, or a released checkpoint, in evaluation mode.

    Args:
        path: a folder.
        dtype: of CLIP and the language model (`float32`, `bfloat16`, `float16`; None: as stored); the mask
            branch and the [SEG] projector are float32.
        device: where to.
        base: of a checkpoint of ours that holds only what was trained, where that does not lie where it lay.
        vision_tower: likewise; CLIP folder of a released checkpoint.
        sam2_weights: likewise.
        sam2_config: SAM-2 configuration of a released checkpoint, by name or file.
        load_gamma: see `glus.weights.released.load_released`.

    Raises:
        InputError: not a model, a part of a released checkpoint that is not named, a base that is missing or another
            one, or tensors that do not fit.
    """
    folder = Path(path)
    if is_released(folder):
        if vision_tower is None or sam2_config is None:
            raise InputError(
                f"{folder} is a published checkpoint: name its vision_tower and its sam2_config, or convert it by"
                " `glus weights import`."
            )
        model = load_released(
            folder, vision_tower=Path(vision_tower), sam2_config=sam2_config, load_gamma=load_gamma, dtype=dtype
        )
    else:
        elsewhere = {"base": base, "vision_tower": vision_tower, "sam2_weights": sam2_weights}
        model = load_glus(folder, elsewhere, dtype=dtype)
    if dtype is not None:
        model.mllm.to(getattr(torch, dtype))
    model.text_hidden_fcs.float()
    model.masks.float()
    return model.to(device).eval()
