"""How fast training goes and what it needs, since the last log line: what differs from run to run."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from typing import TypeVar

import torch

from glus.training.loop.group import gather

T = TypeVar("T")

PACE = ("samples_per_s", "data_wait", "peak_memory_mib")


class Pace:
    """Measures the time of steps, and the part of it that was spent on waiting for batches."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = time.perf_counter()
        self._waited = 0.0

    def next(self, batches: Iterator[T]) -> T:
        """The next batch."""
        start = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - start
        return batch

    def read(self, samples: int) -> dict[str, float]:
        """Of all processes together, since the last call: samples per second, share of the time that was waited for
        data, and the largest peak memory so far in MiB (of the GPU where there is one). All have to call this.

        Args:
            samples: of all processes.
        """
        now = time.perf_counter()
        seconds, self._start = now - self._start, now
        waited, self._waited = self._waited, 0.0
        everyone = gather((waited / seconds, self._peak_memory()))
        return {
            "samples_per_s": samples / seconds,
            "data_wait": sum(share for share, _ in everyone) / len(everyone),
            "peak_memory_mib": max(peak for _, peak in everyone),
        }

    def _peak_memory(self) -> float:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
