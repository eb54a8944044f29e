"""AdamW and its schedule (Table A)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from glus.config import OptimiserConfig
from glus.errors import ConfigError
from glus.training.loop.phase import Phase
from glus.training.loop.trainable import part_of


def build_optimiser(
    phase: Phase, parameters: Mapping[str, nn.Parameter], done: int = 0
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """AdamW (weight decay on matrices only, a rate for each part) and its schedule: linear warm-up, then as named.

    Args:
        phase: whose settings they are.
        parameters: what is trained, by name.
        done: steps of the phase that are done.

    Raises:
        ConfigError: a rate for a part that the phase does not train.
    """
    config = phase.optimiser
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    unused = set(config.rate_factors)
    for name, parameter in parameters.items():
        part = part_of(name)
        unused.discard(part or "")
        groups.setdefault((config.rate_factors.get(part or "", 1.0), parameter.ndim > 1), []).append(parameter)
    if unused:
        raise ConfigError(
            f"rate_factors of the {phase.name} phase: {', '.join(sorted(unused))} is not trained in it; take it out."
        )
    optimiser = torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": config.learning_rate * factor,
                "weight_decay": config.weight_decay if is_matrix else 0.0,
            }
            for (factor, is_matrix), parameters in groups.items()
        ],
        betas=(config.betas[0], config.betas[1]),
        fused=True,
    )
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    return optimiser, LambdaLR(optimiser, lambda step: rate_factor(step, phase.steps, config), last_epoch=done - 1)


def rate_factor(step: int, steps: int, config: OptimiserConfig) -> float:
    """Share of the full learning rate at a step (0 is the first)."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    remaining = (steps - step) / max(1, steps - config.warmup_steps)
    if config.schedule == "constant":
        return 1.0
    return remaining if config.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * remaining))
