"""The training loop, shared by GLUS and the selector: phases, accumulation, schedules, exact resuming.

A batch is a function of its number: it is drawn from it, torch's generator is seeded with it. So a run that was
killed resumes from its last checkpoint and ends with the same weights, and several processes can share a step.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from glus.config import ComputeConfig
from glus.errors import GlusError, KilledError
from glus.execution.devices import resolve_device
from glus.execution.processes import process_number, start_beside
from glus.publishing import sync
from glus.training.loop.distributed import num_replicas, rank, sum_gradients, sum_values
from glus.training.loop.optimiser import build_optimiser
from glus.training.loop.phase import Hooks, Phase, Stateful
from glus.training.loop.precision import set_weight_types
from glus.training.loop.summary import describe_batch, describe_parameters

logger = logging.getLogger(__name__)

LAST = "last.pt"  # the newest checkpoint


class _Batches(Dataset[Any]):
    def __init__(self, phase: Phase) -> None:
        self._batch = phase.batch
        self._size = phase.steps * phase.accumulation

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, number: int) -> Any:
        return self._batch(number)


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
        self._file = checkpoints / LAST
        self._resumed: dict[str, Any] | None = None
        self._sums: dict[str, float] = {}
        self._num_summed = 0
        self._described: set[str] = set()  # phases whose batches the log shows
        self._timer = time.perf_counter()

    @property
    def trained(self) -> set[str]:
        """Names of the parameters that some phase trains."""
        return {name for phase in self.phases for name in phase.parameters}

    def run(self) -> None:
        """Trains from the last checkpoint, or from the start, to the end.

        Raises:
            GlusError: a loss is not finite; names the step.
            KilledError: a process that makes batches was killed.
        """
        trained = (parameter for phase in self.phases for parameter in phase.parameters.values())
        set_weight_types(self.module, trained, self.compute.precision)
        self.module.to(self.device)
        done = self._restore()
        first = 0
        for phase in self.phases:
            if done < first + phase.steps:
                with _naming_killed_workers():
                    self._run_phase(phase, first, done)
                done = first + phase.steps
            first += phase.steps

    def _run_phase(self, phase: Phase, first: int, done: int) -> None:
        chosen = set(phase.parameters)
        for name, parameter in self.module.named_parameters():
            parameter.requires_grad_(name in chosen)
        train_mode(self.module)
        if done == first:
            phase.start()
        optimiser, schedule = build_optimiser(phase)
        if self._resumed and self._resumed["optimiser"] is not None:
            optimiser.load_state_dict(self._resumed["optimiser"])
            schedule.load_state_dict(self._resumed["schedule"])
        self._resumed = None
        if rank() == 0:
            logger.info("%s trains %s", phase.name, describe_parameters(phase.parameters))
        batches = self._batches(phase, done - first)
        self._timer = time.perf_counter()
        for step in range(done - first, phase.steps):
            self._step(phase, first + step, batches, optimiser)
            schedule.step()
            phase.end_step()
            if rank() == 0:
                self._after_step(phase, first + step + 1, step + 1 == phase.steps, optimiser, schedule)

    def _after_step(
        self, phase: Phase, step: int, is_last: bool, optimiser: torch.optim.Optimizer, schedule: LambdaLR
    ) -> None:
        if step % self.log_every == 0 or is_last:
            self._log(phase, step, max(float(rate) for rate in schedule.get_last_lr()))
        self.hooks.on_step(step)
        if step % self.checkpoint_every == 0 or is_last:
            self._save(step, None if is_last else (optimiser, schedule))

    def _step(self, phase: Phase, step: int, batches: Iterator[Any], optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for turn in range(phase.accumulation // num_replicas()):
            number = step * phase.accumulation + turn * num_replicas() + rank()
            torch.manual_seed(self.seed * 1_000_003 + number)
            batch = next(batches).to(self.device)
            if rank() == 0 and phase.name not in self._described:
                logger.info("%s, first batch: %s", phase.name, describe_batch(batch))
                self._described.add(phase.name)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.compute.precision == "bfloat16"):
                losses = phase.loss(batch)
            (losses["loss"] / phase.accumulation).backward()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / phase.accumulation
        means = sum_values(sums)
        if not math.isfinite(means["loss"]):
            values = ", ".join(f"{name} {value:g}" for name, value in means.items())
            raise GlusError(f"step {step + 1} ({phase.name}): the loss is not finite ({values}); lower the rate.")
        parameters = list(phase.parameters.values())
        sum_gradients(parameters)
        means["grad_norm"] = float(nn.utils.clip_grad_norm_(parameters, phase.optimiser.clip_norm))
        optimiser.step()
        for name, mean in means.items():
            self._sums[name] = self._sums.get(name, 0.0) + mean
        self._num_summed += 1

    def _batches(self, phase: Phase, first_step: int) -> Iterator[Any]:
        numbers = range(first_step * phase.accumulation + rank(), phase.steps * phase.accumulation, num_replicas())
        workers = self.compute.workers
        loader = DataLoader(
            _Batches(phase),
            sampler=numbers,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=partial(_start_worker, os.getpid(), process_number()),
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,  # ready at once
        )
        return iter(loader)

    def _log(self, phase: Phase, step: int, rate: float) -> None:
        count = self._num_summed
        values = {name: total / count for name, total in self._sums.items()}
        self._sums, self._num_summed = {}, 0
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
        trained = self.trained
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
        sync(aside)
        aside.replace(self._file)

    def _restore(self) -> int:
        if not self._file.is_file():
            return 0
        content = torch.load(self._file, map_location="cpu", weights_only=True)
        self.module.load_state_dict(content["weights"], strict=False)
        for name, item in self.state.items():
            item.load_state_dict(content["state"][name])
        self._resumed = content
        logger.info("resuming from step %d/%d", content["step"], self.total_steps)
        return int(content["step"])


@contextmanager
def _naming_killed_workers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all that torch says it with
        if "DataLoader worker (pid" not in str(error):
            raise
        raise KilledError(
            "A process that makes training batches (compute.workers) was killed, perhaps because memory ran out."
            " Start again to go on from the last checkpoint."
        ) from error


def finished_steps(checkpoint: Path) -> int:
    """The step that a checkpoint was taken after."""
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["step"])


def train_mode(module: nn.Module) -> None:
    """Training mode for what is trained; frozen parts do not drop anything out (the published code lets them)."""
    module.train()
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def _start_worker(parent: int, number: int, _: int) -> None:
    start_beside(parent, number)
    torch.set_num_threads(1)
