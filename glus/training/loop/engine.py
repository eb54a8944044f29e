"""How a module is trained by one process or by many: accelerate, and below it DDP, FSDP2 or DeepSpeed's ZeRO-2.

The loss of a step is a sum over its batches. Each process takes some of them, and the engine adds the gradients up.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import (
    DeepSpeedPlugin,
    DistributedDataParallelKwargs,
    DistributedType,
    FullyShardedDataParallelPlugin,
    InitProcessGroupKwargs,
    fsdp2_prepare_model,
)
from accelerate.utils.dataclasses import KwargsHandler
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from glus.config import ComputeConfig
from glus.errors import InputError
from glus.execution.devices import resolve_device
from glus.training.loop.freed_memory import return_large_blocks
from glus.training.loop.group import num_processes, prepare_waiting

TIMEOUT = timedelta(minutes=30)  # the slowest thing one process waits for: another's loading of the weights
BLOCKS = ("LlamaDecoderLayer", "CLIPEncoderLayer", "MultiScaleBlock")  # sharded each by itself; the rest together

Losses = dict[str, Tensor]
Moments = dict[str, dict[str, Tensor]]  # parameter's name -> AdamW's state of it
MOMENTS = ("exp_avg", "exp_avg_sq")  # and "step", which ZeRO-2 keeps for all


class _Forward(nn.Module):
    """Holds the parameters and calls the loss of the phase, which is what DDP and FSDP want to wrap."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.losses: list[Callable[[Any], Losses]] = []  # a list: as a module, it would list the parameters again

    def forward(self, batch: Any) -> Losses:
        return self.losses[0](batch)


class Engine:
    """Wraps a module, runs it forward and backward, and keeps its optimiser, whatever the strategy."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._forward: _Forward | None = None
        self._wrapped: nn.Module | None = None
        self.device: torch.device = accelerator.device

    def choose(self, module: nn.Module, names: Iterable[str]) -> dict[str, nn.Parameter]:
        """Trains the named parameters of a module and freezes all others; returns those trained, by name."""
        chosen = set(names)
        _train_only(module, chosen)
        if self._is_sharded:
            with self.whole():  # the whole parameters are other objects than their shards
                _train_only(module, chosen)
        return {name: parameter for name, parameter in module.named_parameters() if name in chosen}

    def wrap(self, module: nn.Module, losses: Callable[[Any], Losses], *, all_are_reached: bool) -> None:
        """Makes a module ready for a phase; its parameters' `requires_grad` are set, and stay.

        Args:
            module: the same one for all phases. Under FSDP2 its parameters are others afterwards, of the same names.
            losses: batch -> scalars, of which `loss` is differentiated.
            all_are_reached: False is slower, and right where the loss does not reach all that is trained.
        """
        if self._forward is None:
            self._forward = _Forward(module).to(self.device)
        self._forward.losses = [losses]
        if self._accelerator.distributed_type == DistributedType.FSDP:
            self._wrapped = self._shard(self._forward)
        elif self._accelerator.use_distributed and not self._uses_deepspeed:
            self._accelerator.ddp_handler.find_unused_parameters = not all_are_reached
            self._accelerator.free_memory()  # it remembers what it has wrapped
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # accelerate does not know `broadcast_buffers`' new name
                self._wrapped = self._accelerator.prepare_model(self._forward)
        else:
            self._wrapped = self._forward

    def _shard(self, forward: _Forward) -> nn.Module:
        plugin = self._accelerator.state.fsdp_plugin
        found = {type(part).__name__ for part in forward.modules()}
        plugin.transformer_cls_names_to_wrap = [name for name in BLOCKS if name in found]
        return fsdp2_prepare_model(self._accelerator, forward)

    def take_over(self, optimiser: torch.optim.Optimizer, clip_norm: float) -> None:
        """Under ZeRO-2 shares an optimiser out among the processes; to be called after `wrap`."""
        if self._uses_deepspeed:
            plugin = self._accelerator.state.deepspeed_plugin
            plugin.deepspeed_config["gradient_clipping"] = clip_norm
            self._wrapped, _ = self._accelerator.prepare(self._forward, optimiser)

    @property
    def _uses_deepspeed(self) -> bool:
        return bool(self._accelerator.distributed_type == DistributedType.DEEPSPEED)

    @property
    def _is_sharded(self) -> bool:
        return isinstance(self._wrapped, FSDPModule)

    def forward(self, batch: Any) -> Losses:
        """Losses of a batch."""
        assert self._wrapped is not None
        return self._wrapped(batch)

    @contextmanager
    def adding_up(self, *, now: bool) -> Iterator[None]:
        """Around a forward and backward pass: whether the processes add their gradients up after it."""
        self._accelerator.gradient_state._set_sync_gradients(now)
        with nullcontext() if now else self._accelerator.no_sync(self._wrapped):
            yield

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of this process's share of a step's loss. Under ZeRO-2 the last one takes the step."""
        self._accelerator.backward(loss * num_processes())  # the strategies take the mean over processes

    def clip(self, parameters: Iterable[nn.Parameter], norm: float) -> float:
        """Clips the gradients to a global norm; returns what it was."""
        total = self._accelerator.clip_grad_norm_(list(parameters), norm)
        return float(total.full_tensor() if isinstance(total, DTensor) else total)

    def unreached(self, parameters: Mapping[str, nn.Parameter]) -> list[str]:
        """After a backward pass: which parameters have no gradient, in no process (ZeRO-2 cannot tell)."""
        if self._uses_deepspeed:
            return []
        return [name for name, parameter in parameters.items() if parameter.grad is None]

    def step(self, optimiser: torch.optim.Optimizer) -> None:
        """Changes the weights and forgets the gradients."""
        if not self._uses_deepspeed:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def moments(self, optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> Moments:
        """What AdamW knows of each parameter, in one piece; all processes have to call this."""
        if self._uses_deepspeed:
            return _zero_moments(parameters)
        return {
            name: {key: _in_one_piece(value) for key, value in optimiser.state[parameter].items()}
            for name, parameter in parameters.items()
            if parameter in optimiser.state
        }

    def load_moments(
        self, optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], moments: Moments
    ) -> None:
        """Gives AdamW back what `moments` read; parameters that it knew nothing of start anew."""
        if self._uses_deepspeed:
            _load_zero_moments(parameters, moments)
            return
        for name, parameter in parameters.items():
            if name in moments:
                optimiser.state[parameter] = {
                    key: value.to(parameter.device) if key == "step" else _like(value, parameter)
                    for key, value in moments[name].items()
                }

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Every process has all parameters in one piece, as plain tensors, to be read."""
        blocks = self._gather_blocks()
        yield
        for block in blocks:
            block.reshard()

    def make_whole(self) -> None:
        """As `whole`, for good: nothing is trained any more."""
        self._gather_blocks()

    def forget(self) -> None:
        """Lets go of the module, so that its memory is free when nobody else holds it."""
        self._forward = self._wrapped = None
        self._accelerator.free_memory()

    def _gather_blocks(self) -> list[FSDPModule]:
        parts = self._wrapped.modules() if self._wrapped is not None else ()
        blocks: list[FSDPModule] = [part for part in parts if isinstance(part, FSDPModule)]
        for block in blocks:
            block.unshard()
        return blocks


def _train_only(module: nn.Module, names: set[str]) -> None:
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in names)


def load_weights(parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]) -> None:
    """Copies weights into the parameters of their names, whole ones into shards too."""
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(_like(weight, parameters[name]))


def in_one_piece(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The parameters as plain tensors; all processes have to call this."""
    return {name: _in_one_piece(parameter.detach()) for name, parameter in parameters.items()}


def _in_one_piece(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor on the device of a parameter, and in shards where that is."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _zero_moments(parameters: Mapping[str, nn.Parameter]) -> Moments:
    from deepspeed.utils import safe_get_full_optimizer_state

    return {
        name: {key: safe_get_full_optimizer_state(parameter, key) for key in MOMENTS}
        for name, parameter in parameters.items()
    }


def _load_zero_moments(parameters: Mapping[str, nn.Parameter], moments: Moments) -> None:
    from deepspeed.utils import safe_set_full_optimizer_state

    for name, parameter in parameters.items():
        for key in MOMENTS if name in moments else ():
            safe_set_full_optimizer_state(parameter, moments[name][key], key)


@contextmanager
def open_engine(compute: ComputeConfig) -> Iterator[Engine]:
    """Meets the other processes, if there are any, and parts from them when all is done.

    Raises:
        InputError: DeepSpeed is asked for and is not installed, or has no GPU.
    """
    device = resolve_device(compute)
    if device.type == "cpu" and compute.activation_checkpointing:
        return_large_blocks()
    if compute.strategy == "zero2":
        require_deepspeed(device)
    together = int(os.environ.get("WORLD_SIZE", "1")) > 1
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no",  # the loop has its own autocast, see `.precision`
        fsdp_plugin=_fsdp() if together and compute.strategy == "fsdp" else None,
        deepspeed_plugin=_zero2() if together and compute.strategy == "zero2" else None,
        kwargs_handlers=_of_group(device) if together else None,
    )
    warnings.filterwarnings("ignore", "Grad strides do not match")  # of 1x1 convolutions, where they do not matter
    prepare_waiting()
    try:
        yield Engine(accelerator)
        if dist.is_initialized():  # not after an error: the others would tell of the group's end instead of the cause
            dist.destroy_process_group()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)  # one at a time, and another one may follow
        GradientState._reset_state()


def require_deepspeed(device: torch.device) -> None:
    """Refuses a strategy that would quietly become another one.

    Raises:
        InputError: DeepSpeed is not installed, or training runs on the CPU.
    """
    if find_spec("deepspeed") is None:
        raise InputError(
            "compute.strategy is zero2, for which DeepSpeed is needed: install the extra `glus[deepspeed]`, or set"
            " compute.strategy to ddp or fsdp."
        )
    if device.type == "cpu":
        raise InputError(
            "compute.strategy is zero2, which is for GPUs, but training runs on the CPU (compute.device); set"
            " compute.strategy to ddp or fsdp."
        )


def _of_group(device: torch.device) -> list[KwargsHandler]:
    """NCCL wants a GPU for each process; what is no gradient is told through gloo."""
    own_gpus = device.type == "cuda" and torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return [
        InitProcessGroupKwargs(backend="cpu:gloo,cuda:nccl" if own_gpus else "gloo", timeout=TIMEOUT),
        DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True),
    ]


def _fsdp() -> FullyShardedDataParallelPlugin:
    return FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False
    )


def _zero2() -> DeepSpeedPlugin:
    """Optimiser and gradients in shards, and no other arithmetic than the loop's."""
    return DeepSpeedPlugin(
        hf_ds_config={
            "zero_optimization": {"stage": 2},
            "train_micro_batch_size_per_gpu": 1,  # of no effect: batches come as they are
            "gradient_accumulation_steps": 1,  # of no effect: `Engine.adding_up` says when
            "zero_allow_untested_optimizer": True,
        }
    )
