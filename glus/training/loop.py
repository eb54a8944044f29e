"""The training loop, shared by GLUS and the selector: phases, accumulation, schedules, exact resuming.

A step is a function of its number: batches are drawn from it, torch's generator is seeded with it. So a run that was
killed goes on from its last checkpoint and ends with the same weights.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from glus.config import ComputeConfig, OptimiserConfig
from glus.errors import GlusError
from glus.model.device import resolve_device

logger = logging.getLogger(__name__)


class Stateful(Protocol):
    """Something beside the weights that a resumed run needs back."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> Any:
        """Takes a saved state over."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own data, loss, trained parameters and optimiser.

    Attributes:
        name: shown in logs and metrics.
        steps: optimiser steps.
        accumulation: batches per step.
        optimiser: AdamW, its schedule and clipping.
        parameters: what is trained; everything else is frozen during the phase.
        batch: number of the batch (counted from 0 within the phase) -> batch.
        loss: batch -> scalars; `loss` is differentiated, all are logged.
    """

    name: str
    steps: int
    accumulation: int
    optimiser: OptimiserConfig
    parameters: Mapping[str, nn.Parameter]
    batch: Callable[[int], Any]
    loss: Callable[[Any], dict[str, Tensor]]


@dataclass(frozen=True)
class Hooks:
    """What happens beside the steps.

    Attributes:
        on_log: step, phase and mean values since the last call.
        on_step: after each step and before its checkpoint, with the number of steps done.
    """

    on_log: Callable[[int, str, dict[str, float]], None]
    on_step: Callable[[int], None]


class _Batches(Dataset[Any]):
    def __init__(self, phase: Phase) -> None:
        self._phase = phase

    def __len__(self) -> int:
        return self._phase.steps * self._phase.accumulation

    def __getitem__(self, number: int) -> Any:
        return self._phase.batch(number)


class Trainer:
    """Runs phases one after the other.

    Args:
        module: holds every parameter of every phase.
        phases: in order.
        checkpoints: folder that survives kills; holds `last.pt`.
        checkpoint_every: steps between checkpoints.
        log_every: steps between log lines.
        seed: of torch's generator at each step (dropout).
        compute: device, precision, data workers.
        hooks: see there.
        state: further objects to save and restore.
    """

    def __init__(
        self,
        module: nn.Module,
        phases: list[Phase],
        *,
        checkpoints: Path,
        checkpoint_every: int,
        log_every: int,
        seed: int,
        compute: ComputeConfig,
        hooks: Hooks,
        state: Mapping[str, Stateful] | None = None,
    ) -> None:
        self.module = module
        self.phases = phases
        self.checkpoint_every = checkpoint_every
        self.log_every = log_every
        self.seed = seed
        self.compute = compute
        self.hooks = hooks
        self.state = dict(state or {})
        self.device = resolve_device(compute)
        self.total_steps = sum(phase.steps for phase in phases)
        self._file = checkpoints / "last.pt"
        self._resumed: dict[str, Any] | None = None
        self._sums: dict[str, float] = {}
        self._timer = time.perf_counter()

    def run(self) -> None:
        """Trains from the last checkpoint, or from the start, to the end."""
        self.module.to(self.device)
        done = self._restore()
        first = 0
        for phase in self.phases:
            if done < first + phase.steps:
                self._run_phase(phase, first, done)
                done = first + phase.steps
            first += phase.steps
        self._save(self.total_steps, None)

    def _run_phase(self, phase: Phase, first: int, done: int) -> None:
        chosen = set(phase.parameters)
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(name in chosen)
        self.module.train()
        optimiser, schedule = build_optimiser(phase)
        if self._resumed and self._resumed["optimiser"] is not None:
            optimiser.load_state_dict(self._resumed["optimiser"])
            schedule.load_state_dict(self._resumed["schedule"])
        self._resumed = None
        batches = self._batches(phase, done - first)
        self._timer = time.perf_counter()
        for step in range(done - first, phase.steps):
            self._step(phase, first + step, batches, optimiser)
            schedule.step()
            if (first + step + 1) % self.log_every == 0 or step + 1 == phase.steps:
                self._log(phase, first + step + 1, float(schedule.get_last_lr()[0]))
            self.hooks.on_step(first + step + 1)
            if (first + step + 1) % self.checkpoint_every == 0 or step + 1 == phase.steps:
                self._save(first + step + 1, (optimiser, schedule) if step + 1 < phase.steps else None)

    def _step(self, phase: Phase, step: int, batches: Iterator[Any], optimiser: torch.optim.Optimizer) -> None:
        torch.manual_seed(self.seed * 1_000_003 + step)
        optimiser.zero_grad(set_to_none=True)
        for _ in range(phase.accumulation):
            batch = next(batches).to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.compute.precision == "bfloat16"):
                losses = phase.loss(batch)
            if not torch.isfinite(losses["loss"]):
                values = ", ".join(f"{name} {float(value.detach()):g}" for name, value in losses.items())
                raise GlusError(f"step {step + 1} ({phase.name}): the loss is not finite ({values}); lower the rate.")
            (losses["loss"] / phase.accumulation).backward()
            for name, value in losses.items():
                self._sums[name] = self._sums.get(name, 0.0) + float(value.detach()) / phase.accumulation
        norm = nn.utils.clip_grad_norm_(list(phase.parameters.values()), phase.optimiser.clip_norm)
        self._sums["grad_norm"] = self._sums.get("grad_norm", 0.0) + float(norm)
        self._sums["steps"] = self._sums.get("steps", 0) + 1
        optimiser.step()

    def _batches(self, phase: Phase, first_step: int) -> Iterator[Any]:
        numbers = range(first_step * phase.accumulation, phase.steps * phase.accumulation)
        workers = self.compute.workers
        loader = DataLoader(
            _Batches(phase),
            sampler=numbers,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_one_thread,
        )
        return iter(loader)

    def _log(self, phase: Phase, step: int, rate: float) -> None:
        count = self._sums.pop("steps")
        values = {name: total / count for name, total in self._sums.items()}
        self._sums.clear()
        now = time.perf_counter()
        seconds, self._timer = (now - self._timer) / count, now
        parts = " ".join(f"{name} {value:.3f}" for name, value in values.items())
        remaining = (self.total_steps - step) * seconds
        logger.info(
            "step %04d/%d %s %s rate %.1e %.2f s/step eta %.0f s",
            step, self.total_steps, phase.name, parts, rate, seconds, remaining,
        )  # fmt: skip
        self.hooks.on_log(step, phase.name, values)

    def _save(self, step: int, optimisers: tuple[torch.optim.Optimizer, LambdaLR] | None) -> None:
        trained = {name for phase in self.phases for name in phase.parameters}
        content = {
            "step": step,
            "weights": {name: value for name, value in self.module.state_dict().items() if name in trained},
            "optimiser": optimisers[0].state_dict() if optimisers else None,
            "schedule": optimisers[1].state_dict() if optimisers else None,
            "state": {name: item.state_dict() for name, item in self.state.items()},
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        aside = self._file.with_suffix(".partial")
        torch.save(content, aside)
        aside.replace(self._file)

    def _restore(self) -> int:
        if not self._file.is_file():
            return 0
        content = torch.load(self._file, map_location="cpu", weights_only=True)
        self.module.load_state_dict(content["weights"], strict=False)
        for name, item in self.state.items():
            item.load_state_dict(content["state"][name])
        self._resumed = content
        logger.info("going on from step %d/%d", content["step"], self.total_steps)
        return int(content["step"])


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def build_optimiser(phase: Phase) -> tuple[torch.optim.AdamW, LambdaLR]:
    """AdamW (weight decay on matrices only) and its schedule: linear warm-up, then as named."""
    config = phase.optimiser
    matrices = [parameter for parameter in phase.parameters.values() if parameter.ndim > 1]
    others = [parameter for parameter in phase.parameters.values() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.betas[0], config.betas[1]),
    )
    return optimiser, LambdaLR(optimiser, lambda step: rate_factor(step, phase.steps, config))


def rate_factor(step: int, steps: int, config: OptimiserConfig) -> float:
    """Share of the full learning rate at a step (0 is the first)."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    remaining = (steps - step) / max(1, steps - config.warmup_steps)
    if config.schedule == "constant":
        return 1.0
    return remaining if config.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * remaining))
