"""Where a model runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glus.errors import InputError
from glus.execution.processes import process_number

if TYPE_CHECKING:
    import torch

    from glus.config import ComputeConfig


def require_device(compute: ComputeConfig) -> None:
    """Checks that the device is there, before anything is done.

    Raises:
        InputError: `cuda` is asked for and there is none.
    """
    if compute.device != "cuda":
        return
    import torch  # takes seconds, and most commands need none

    if not torch.cuda.is_available():
        raise InputError("compute.device is cuda, but torch finds no GPU here; set it to auto or cpu.")


def resolve_device(compute: ComputeConfig) -> torch.device:
    """The device that the parameters ask for; processes that work side by side take the GPUs in turn.

    Raises:
        InputError: `cuda` is asked for and there is none.
    """
    import torch

    require_device(compute)
    if compute.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", process_number() % torch.cuda.device_count())
