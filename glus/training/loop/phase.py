"""What a training phase is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from glus.config import OptimiserConfig


class Stateful(Protocol):
    """Something beside the weights that a resumed run needs back."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes a saved state over."""


class Batch(Protocol):
    """What a phase computes its loss of at once: a micro-batch of a step."""

    @property
    def num_masks(self) -> int:
        """How many masks (or whatever the loss is a mean of) it has."""

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of its samples, for people."""

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""


def _nothing() -> None:
    pass


def _no_weights() -> Mapping[str, Tensor]:
    return {}


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own data, loss, trained parameters and optimiser.

    Attributes:
        name: shown in logs and metrics.
        steps: optimiser steps.
        accumulation: batches per step, shared by the processes that train together.
        samples: clips per batch.
        optimiser: AdamW, its schedule and clipping.
        parameters: what is trained; everything else is frozen during the phase.
        batch: number of the batch (counted from 0 within the phase) -> batch.
        loss: batch -> scalars; `loss` is differentiated, all are logged.
        start: weights of the module to start from, by name; not called when a run resumes within the phase.
        end_step: called after each step.
        global_mean: the loss is the mean over all masks of a step, instead of the mean over its batches of the mean
            over the masks of each.
    """

    name: str
    steps: int
    accumulation: int
    samples: int
    optimiser: OptimiserConfig
    parameters: Mapping[str, nn.Parameter]
    batch: Callable[[int], Any]
    loss: Callable[[Any], dict[str, Tensor]]
    start: Callable[[], Mapping[str, Tensor]] = _no_weights
    end_step: Callable[[], None] = _nothing
    global_mean: bool = False


@dataclass(frozen=True)
class Hooks:
    """What happens beside the steps, in every process.

    Attributes:
        on_log: step, phase, mean values since the last call, and pace (see `.pace`).
        on_step: after each step and before its checkpoint, with the number of steps done.
        whole_at: steps at which `on_step` finds all parameters in one piece, however they are sharded; the same in
            every process.
    """

    on_log: Callable[[int, str, dict[str, float], dict[str, float]], None] = lambda step, phase, values, pace: None
    on_step: Callable[[int], None] = lambda step: None
    whole_at: Collection[int] = ()
