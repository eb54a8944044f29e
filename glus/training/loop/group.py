"""The processes that train together: which one this is, and what they tell each other.

A single process is a group of one. Who starts the others does not matter here: see `glus.launch`.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import chain
from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")

WAITING = timedelta(days=30)  # the others wait for what the first does after training


class _Waiting:
    group: Any = None


def rank() -> int:
    """This process among those that train together; 0 writes checkpoints, logs and artifacts."""
    return dist.get_rank() if dist.is_initialized() else 0


def num_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def prepare_waiting() -> None:
    """To be called by all when the group has met: `wait_for_all` needs patience that the rest must not have."""
    _Waiting.group = dist.new_group(backend="gloo", timeout=WAITING) if num_processes() > 1 else None


def wait_for_all() -> None:
    """Waits until all processes are here; fails where one of them has ended."""
    if num_processes() > 1:
        dist.barrier(_Waiting.group)


def from_first(value: T) -> T:
    """What the first process calls this with."""
    values = [value]
    if num_processes() > 1:
        dist.broadcast_object_list(values)
    return values[0]


def gather(value: T) -> list[T]:
    """What each process calls this with, in the order of their ranks."""
    values: list[Any] = [value]
    if num_processes() > 1:
        values = [None] * num_processes()
        dist.all_gather_object(values, value)
    return values


def gather_in_order(items: list[T]) -> list[T]:
    """What all processes made of their batches of a step, in the order of the batches."""
    return list(chain.from_iterable(zip(*gather(items), strict=True)))


def sum_values(values: dict[str, float]) -> dict[str, float]:
    """Sums of the values over the processes; all of them name the same ones."""
    everything = gather(values)
    return {name: sum(each[name] for each in everything) for name in values}
