"""Where a model runs."""

from __future__ import annotations

import torch

from glus.config import ComputeConfig
from glus.errors import GlusError
from glus.execution.processes import process_number


def resolve_device(compute: ComputeConfig) -> torch.device:
    """The device that the parameters ask for; processes that work side by side take the GPUs in turn.

    Raises:
        GlusError: `cuda` is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if compute.device == "cuda" and not available:
        raise GlusError("compute.device is cuda, but torch finds no GPU; set it to auto or cpu.")
    if not available or compute.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", process_number() % torch.cuda.device_count())
