"""Where a model runs."""

from __future__ import annotations

import torch

from glus.config import ComputeConfig
from glus.errors import GlusError


def resolve_device(compute: ComputeConfig) -> torch.device:
    """The device that the parameters ask for.

    Raises:
        GlusError: `cuda` is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if compute.device == "cuda" and not available:
        raise GlusError("compute.device is cuda, but torch finds no GPU; set it to auto or cpu.")
    return torch.device("cuda" if available and compute.device != "cpu" else "cpu")
