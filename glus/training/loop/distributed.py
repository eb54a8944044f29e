"""Training in several processes of one machine: each holds the model and computes its share of a step's batches.

Gradients are added up before each optimiser step, so the result is that of one process that accumulates all batches,
up to rounding. One GPU for each process where there are any.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from glus.training.loop.companions import Ready, companions

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)  # the slowest thing one replica waits for: another's loading of the weights


def rank() -> int:
    """This process among the replicas; 0 writes checkpoints, logs and artifacts."""
    return dist.get_rank() if dist.is_initialized() else 0


def num_replicas() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def replicas(count: int, train: Callable[..., None], *arguments: Any) -> Iterator[None]:
    """Makes this process the first of `count`; the others run `train(*arguments)` and have to take the same steps.

    Raises:
        GlusError: another process failed: its own error, or how it ended.
    """
    if count == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="glus-replicas-") as folder:
        meeting = Path(folder) / "meeting"
        try:
            with companions(count - 1, _train_beside, count, meeting, train, arguments) as others:
                others.wait_until_ready()  # joining waits for the others too, but hears no signal
                _join_group(0, count, meeting)
                yield
                others.wait_until_done()
        finally:
            if dist.is_initialized():
                dist.destroy_process_group()


def _train_beside(
    ready: Ready, number: int, count: int, meeting: Path, train: Callable[..., None], arguments: Sequence[Any]
) -> None:
    ready()
    _join_group(number, count, meeting)
    train(*arguments)
    dist.destroy_process_group()


def _join_group(number: int, count: int, meeting: Path) -> None:
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all replicas are here, whatever the host is called
    own_gpus = torch.cuda.device_count() >= count
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if own_gpus else "gloo",
        init_method=meeting.as_uri(),
        rank=number,
        world_size=count,
        timeout=TIMEOUT,
    )


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replaces each gradient by its sum over the replicas; a missing one counts as 0."""
    if num_replicas() == 1:
        return
    parameters = list(parameters)
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
    dist.all_reduce(flat)
    for parameter, total in zip(parameters, flat.split([item.numel() for item in parameters]), strict=True):
        parameter.grad = total.view_as(parameter)


def sum_values(values: dict[str, float]) -> dict[str, float]:
    """Sums of the values over the replicas; all of them name the same ones."""
    if num_replicas() == 1:
        return values
    total = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(total)
    return dict(zip(values, total.tolist(), strict=True))


def gather_in_order(items: list[T]) -> list[T]:
    """What all replicas made of their batches of a step, in the order of the batches."""
    if num_replicas() == 1:
        return items
    everything: list[list[T]] = [[] for _ in range(num_replicas())]
    dist.all_gather_object(everything, items)
    return list(chain.from_iterable(zip(*everything, strict=True)))
