"""The training loop, shared by GLUS and the selector: phases, accumulation, schedules, exact resuming.

A batch is a function of its number (seed, step, place in the step): it is drawn from it, torch's generator is seeded
with it. So a run that was killed resumes from its last checkpoint and ends with the same weights, and any number of
processes that divides the batches of a step trains the same, up to rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from glus.config import ComputeConfig
from glus.errors import ConfigError, GlusError, InputError, name_some
from glus.training.loop.batches import open_batches
from glus.training.loop.checkpoints import Checkpoints, State, join_tensors, split_tensors
from glus.training.loop.engine import Engine, Moments, in_one_piece, load_weights
from glus.training.loop.finite import require_finite
from glus.training.loop.group import from_first, num_processes, rank, sum_values
from glus.training.loop.lost import naming_killed_processes
from glus.training.loop.optimiser import build_optimiser
from glus.training.loop.pace import Pace
from glus.training.loop.phase import Batch, Hooks, Phase, Stateful
from glus.training.loop.precision import set_weight_types
from glus.training.loop.summary import describe_batch, describe_parameters

logger = logging.getLogger(__name__)


@dataclass
class _Running:
    """A phase at work."""

    phase: Phase
    first: int  # steps of the phases before
    parameters: dict[str, nn.Parameter]
    optimiser: torch.optim.Optimizer
    schedule: LambdaLR
    batches: Iterator[Batch]
    unreached: list[str] | None = None  # known after the first step


class Trainer:
    """Runs phases one after the other.

    Args:
        module: holds every parameter of every phase.
        phases: in order.
        engine: what wraps it and adds up gradients.
        checkpoints: states to resume from.
        log_every: steps between log lines.
        seed: of torch's generator at each batch (dropout).
        compute: precision, data workers.
        hooks: see there.
        state: further objects to save and restore.

    Attributes:
        trained: names of the parameters that some phase trains.
    """

    def __init__(
        self,
        module: nn.Module,
        phases: list[Phase],
        *,
        engine: Engine,
        checkpoints: Checkpoints,
        log_every: int,
        seed: int,
        compute: ComputeConfig,
        hooks: Hooks,
        state: Mapping[str, Stateful] | None = None,
    ) -> None:
        self.module = module
        self.phases = phases
        self.engine = engine
        self.checkpoints = checkpoints
        self.log_every = log_every
        self.seed = seed
        self.compute = compute
        self.hooks = hooks
        self.state = dict(state or {})
        self.total_steps = sum(phase.steps for phase in phases)
        self.trained = {name for phase in phases for name in phase.parameters}
        self._moments: Moments = {}  # of the optimiser of the phase that is resumed
        self._sums: dict[str, float] = {}
        self._num_summed = 0
        self._autocasts = compute.precision == "bfloat16"
        self._described: set[str] = set()  # phases whose batches the log shows
        self._pace = Pace(engine.device)

    def run(self) -> None:
        """Trains from the last checkpoint, or from the start, to the end; the parameters are in one piece then.

        Raises:
            ConfigError: the batches of a step cannot be shared by the processes that there are.
            InputError: a checkpoint of other parameters; names the difference.
            GlusError: a loss is not finite, or a batch without masks; names the step and the samples.
            KilledError: a process that makes batches, or another one that trains, was killed.
        """
        for phase in self.phases:
            require_equal_shares(phase)
        trained = [parameter for name, parameter in self.module.named_parameters() if name in self.trained]
        set_weight_types(self.module, trained, self.compute.precision)
        self.module.to(self.engine.device)
        done = self._restore()
        first = 0
        with naming_killed_processes():
            for phase in self.phases:
                if done < first + phase.steps:
                    self._run_phase(phase, first, done - first)
                    done = first + phase.steps
                first += phase.steps
            self.engine.make_whole()

    def _run_phase(self, phase: Phase, first: int, done: int) -> None:
        self.engine.choose(self.module, phase.parameters)
        train_mode(self.module)
        if done == 0:
            load_weights(dict(self.module.named_parameters()), phase.start())
        self.engine.wrap(self.module, phase.loss, all_are_reached=False)
        with open_batches(phase, done, self.compute.workers) as batches:
            running = self._start(phase, first, done, batches)
            self._pace = Pace(self.engine.device)
            for step in range(done, phase.steps):
                self._step(running, step)
                if step == done:
                    self._freeze_unreached(running)
                running.schedule.step()
                phase.end_step()
                self._after_step(running, step + 1)

    def _start(self, phase: Phase, first: int, done: int, batches: Iterator[Batch]) -> _Running:
        parameters = {name: each for name, each in self.module.named_parameters() if name in phase.parameters}
        if rank() == 0:
            logger.info("%s trains %s", phase.name, describe_parameters(parameters))
        optimiser, schedule = build_optimiser(phase, parameters, done)
        self.engine.take_over(optimiser, phase.optimiser.clip_norm)
        self.engine.load_moments(optimiser, parameters, self._moments)
        self._moments = {}
        return _Running(phase, first, parameters, optimiser, schedule, batches)

    def _step(self, running: _Running, step: int) -> None:
        phase, sums, seen = running.phase, dict[str, float](), list[str]()
        step += running.first
        place, turns = f"step {step + 1} ({phase.name})", phase.accumulation // num_processes()
        for turn, (batch, divisor) in enumerate(self._share(running, place)):
            number = step * phase.accumulation + turn * num_processes() + rank()
            torch.manual_seed(self.seed * 1_000_003 + number)
            seen += batch.sample_ids
            with self.engine.adding_up(now=turn == turns - 1):
                with torch.autocast(self.engine.device.type, torch.bfloat16, enabled=self._autocasts):
                    losses = self.engine.forward(batch.to(self.engine.device))
                values = {name: float(value.detach()) for name, value in losses.items()}
                require_finite(values, place, batch.sample_ids, self.module)
                self.engine.backward(losses["loss"] / divisor)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value / divisor
        means = sum_values(sums)
        means["grad_norm"] = self.engine.clip(running.parameters.values(), phase.optimiser.clip_norm)
        require_finite(means, place, seen, self.module)
        if running.unreached is None:
            running.unreached = self.engine.unreached(running.parameters)
        self.engine.step(running.optimiser)
        for name, mean in means.items():
            self._sums[name] = self._sums.get(name, 0.0) + mean
        self._num_summed += 1

    def _share(self, running: _Running, place: str) -> Iterator[tuple[Batch, float]]:
        """This process's batches of a step, each with what its loss is divided by."""
        phase, turns = running.phase, range(running.phase.accumulation // num_processes())
        drawn = (self._next(running, place) for _ in turns)
        if not phase.global_mean:
            for batch in drawn:
                yield batch, phase.accumulation
            return
        batches = list(drawn)  # how many masks there are is known when all are
        total = sum_values({"masks": sum(batch.num_masks for batch in batches)})["masks"]
        for batch in batches:
            yield batch, total / batch.num_masks

    def _next(self, running: _Running, place: str) -> Batch:
        batch, phase = self._pace.next(running.batches), running.phase
        if batch.num_masks == 0:
            raise GlusError(f"{place}: a batch without masks ({name_some(batch.sample_ids)}); look at its videos.")
        if rank() == 0 and phase.name not in self._described:
            logger.info("%s, first batch: %s", phase.name, describe_batch(batch))
            self._described.add(phase.name)
        return batch

    def _freeze_unreached(self, running: _Running) -> None:
        """Freezes what is to be trained and no loss reaches: DDP waits for the gradient of everything else."""
        if running.unreached:
            if rank() == 0:
                named = name_some(running.unreached)
                logger.info("%s: the loss does not reach %s; frozen", running.phase.name, named)
            for name in running.unreached:
                del running.parameters[name]
            running.parameters = self.engine.choose(self.module, running.parameters)
        self.engine.wrap(self.module, running.phase.loss, all_are_reached=True)

    def _after_step(self, running: _Running, step: int) -> None:
        phase, is_last = running.phase, step == running.phase.steps
        step += running.first
        if step % self.log_every == 0 or is_last:
            self._log(phase, step, max(float(rate) for rate in running.schedule.get_last_lr()))
        with self.engine.whole() if step in self.hooks.whole_at else nullcontext():
            self.hooks.on_step(step)
        if step % self.checkpoints.every == 0 or is_last:
            self._save(step, {} if is_last else self.engine.moments(running.optimiser, running.parameters))

    def _log(self, phase: Phase, step: int, rate: float) -> None:
        count = self._num_summed
        values = {name: total / count for name, total in self._sums.items()} | {"rate": rate}
        self._sums, self._num_summed = {}, 0
        pace = self._pace.read(count * phase.accumulation * phase.samples)
        seconds = phase.accumulation * phase.samples / pace["samples_per_s"]
        if rank() == 0:
            parts = " ".join(f"{name} {value:.3f}" for name, value in values.items() if name != "rate")
            remaining = (self.total_steps - step) * seconds
            logger.info(
                "step %04d/%d %s %s rate %.1e %.2f s/step eta %.0f s",
                step, self.total_steps, phase.name, parts, rate, seconds, remaining,
            )  # fmt: skip
        self.hooks.on_log(step, phase.name, values, pace)

    def _save(self, step: int, moments: Moments) -> None:
        parameters = {name: each for name, each in self.module.named_parameters() if name in self.trained}
        tensors = {f"weights/{name}": weight for name, weight in in_one_piece(parameters).items()}
        tensors |= {f"moments/{key}/{name}": value for name, each in moments.items() for key, value in each.items()}
        if rank() == 0:
            state = {name: item.state_dict() for name, item in self.state.items()}
            facts = {"state": split_tensors(state, "state", tensors)}
            self.checkpoints.save(State(step, tensors, facts))

    def _restore(self) -> int:
        step = from_first(self.checkpoints.newest() if rank() == 0 else None)
        if step is None:
            return 0
        state = self.checkpoints.load(step)
        parameters = {name: each for name, each in self.module.named_parameters() if name in self.trained}
        weights = {
            name.removeprefix("weights/"): value for name, value in state.tensors.items() if name.startswith("weights/")
        }
        _require_equal_parameters(step, parameters, weights)
        load_weights(parameters, weights)
        for name, value in state.tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "moments":
                key, _, parameter = rest.partition("/")
                self._moments.setdefault(parameter, {})[key] = value
        for name, item in self.state.items():
            item.load_state_dict(join_tensors(state.facts["state"][name], state.tensors))
        if rank() == 0:
            logger.info("resuming from step %d/%d", step, self.total_steps)
        return step


def require_equal_shares(phase: Phase) -> None:
    """Refuses a number of processes that do not get equal shares of a step's batches.

    Raises:
        ConfigError: it does not divide the number of batches.
    """
    if phase.accumulation % num_processes():
        raise ConfigError(
            f"accumulation of the {phase.name} phase: {phase.accumulation} batches per step cannot be shared by"
            f" {num_processes()} processes; start a number of them that divides it, or change one of the two."
        )


def _require_equal_parameters(step: int, own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    differences = [
        *(f"{name} is not in it" for name in own if name not in saved),
        *(f"{name} is not trained now" for name in saved if name not in own),
        *(
            f"{name} has shape {[*saved[name].shape]} in it, {[*value.shape]} now"
            for name, value in own.items()
            if name in saved and saved[name].shape != value.shape
        ),
    ]
    if differences:
        raise InputError(
            f"the checkpoint after step {step} is of other parameters: {name_some(differences)}."
            " Start anew with --fresh, or go back to the parameters that it was made with."
        )


def train_mode(module: nn.Module) -> None:
    """Training mode for what is trained; frozen parts do not drop anything out (the published code lets them)."""
    module.train()
    for part in module.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()
