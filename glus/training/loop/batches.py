"""The batches of a phase, made ahead in processes beside the training process and handed over whole.

PyTorch hands over each tensor by a file descriptor of its own, which takes a connection and a handshake: with the
twenty tensors of a batch, 5 % of the tiny model's training. Here they lie in one piece of shared memory.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from glus.execution.processes import process_number, start_beside
from glus.training.loop.group import num_processes, rank
from glus.training.loop.phase import Phase

ALIGNED = 64  # bytes; every tensor begins at a multiple
Parcel = tuple[bytes, Tensor]  # the batch without its tensors, and their bytes, uint8 [n]


@contextmanager
def open_batches(phase: Phase, first_step: int, workers: int) -> Iterator[Iterator[Any]]:
    """This process's batches of a phase; what makes them is gone when the context is left, however that happens.

    Args:
        first_step: steps of the phase that are done.
        workers: processes that make them; 0: they are made here.
    """
    first, last = first_step * phase.accumulation, phase.steps * phase.accumulation
    parcels = iter(
        DataLoader(
            _Parcels(phase),
            sampler=range(first + rank(), last, num_processes()),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=partial(_start_worker, os.getpid(), process_number()),
            multiprocessing_context=_Forks() if workers and sys.platform == "linux" else None,
        )
    )
    try:
        yield map(unpack, parcels)
    finally:
        if workers:  # torch would do it when nobody, and no traceback of an error, knows the iterator any more
            parcels._shutdown_workers()  # type: ignore[attr-defined]


class _Parcels(Dataset[Parcel]):
    def __init__(self, phase: Phase) -> None:
        self._batch = phase.batch
        self._size = phase.steps * phase.accumulation

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, number: int) -> Parcel:
        return pack(self._batch(number))


class _BatchProcess(ForkProcess):
    """A process that makes batches; it ends where its work does.

    Python would run in it what libraries have registered for the end of the training process. That is not its end, and
    may fail here (findings/prefect-service-fails-forked-children.sh), for which torch then blames the worker.
    """

    def run(self) -> None:
        """Works until torch puts it away."""
        super().run()
        os._exit(0)

    def terminate(self) -> None:
        """Ends it where torch has waited for long enough: it does not hear SIGTERM."""
        self.kill()


class _Forks(ForkContext):
    """Starts processes that are ready at once."""

    Process = _BatchProcess


def _start_worker(parent: int, number: int, _: int) -> None:
    start_beside(parent, number)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # of the whole group: the training process ends its own
    torch.set_num_threads(1)


def pack(batch: Any) -> Parcel:
    """A batch of any type, its tensors (on the CPU) behind one another."""
    frame = io.BytesIO()
    packer = _Packer(frame)
    packer.dump(batch)
    content = torch.empty(packer.size, dtype=torch.uint8)
    for start, tensor in packer.tensors:
        content[start : start + tensor.nbytes] = tensor.contiguous().view(-1).view(torch.uint8)
    return frame.getvalue(), content


def unpack(parcel: Parcel) -> Any:
    """The batch; its tensors share the parcel's memory."""
    frame, content = parcel
    return _Unpacker(io.BytesIO(frame), content).load()


class _Packer(pickle.Pickler):
    """Leaves the tensors out and notes where they go."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.size = 0
        self.tensors: list[tuple[int, Tensor]] = []

    def persistent_id(self, value: Any) -> tuple[int, torch.dtype, tuple[int, ...]] | None:
        """Start, type and shape of a tensor; None for all else."""
        if not isinstance(value, Tensor):
            return None
        start = self.size
        self.tensors.append((start, value))
        self.size += -(-value.nbytes // ALIGNED) * ALIGNED
        return start, value.dtype, tuple(value.shape)


class _Unpacker(pickle.Unpickler):
    """Puts the tensors back; what it reads comes from a process of ours."""

    def __init__(self, file: io.BytesIO, content: Tensor) -> None:
        super().__init__(file)
        self._content = content

    def persistent_load(self, place: tuple[int, torch.dtype, tuple[int, ...]]) -> Tensor:
        """The tensor at a place."""
        start, dtype, shape = place
        size = dtype.itemsize * torch.Size(shape).numel()
        return self._content[start : start + size].view(dtype).view(shape)
