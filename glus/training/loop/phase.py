"""What a training phase is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from glus.config import OptimiserConfig


class Stateful(Protocol):
    """Something beside the weights that a resumed run needs back."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes a saved state over."""


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own data, loss, trained parameters and optimiser.

    Attributes:
        name: shown in logs and metrics.
        steps: optimiser steps.
        accumulation: batches per step, shared by the processes that train together.
        optimiser: AdamW, its schedule and clipping.
        parameters: what is trained; everything else is frozen during the phase.
        batch: number of the batch (counted from 0 within the phase) -> batch.
        loss: batch -> scalars; `loss` is differentiated, all are logged.
        start: called before the first step; not when a run resumes within the phase.
        end_step: called after each step.
    """

    name: str
    steps: int
    accumulation: int
    optimiser: OptimiserConfig
    parameters: Mapping[str, nn.Parameter]
    batch: Callable[[int], Any]
    loss: Callable[[Any], dict[str, Tensor]]
    start: Callable[[], None] = _nothing
    end_step: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Hooks:
    """What happens beside the steps, in the first process.

    Attributes:
        on_log: step, phase and mean values since the last call.
        on_step: after each step and before its checkpoint, with the number of steps done.
    """

    on_log: Callable[[int, str, dict[str, float]], None]
    on_step: Callable[[int], None]


IGNORE = Hooks(lambda step, phase, values: None, lambda step: None)
