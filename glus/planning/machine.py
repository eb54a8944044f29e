"""The memory of this machine, and of its cards."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from glus.config import ComputeConfig
from glus.execution.devices import resolve_device

GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container


@dataclass(frozen=True)
class Room:
    """Memory that the processes of a step have.

    Attributes:
        name: of what it belongs to.
        size: bytes.
        shared: whether all processes live in it, or each has its own.
        libraries: bytes that a process takes before it has a model.
    """

    name: str
    size: int
    shared: bool
    libraries: int


def room(compute: ComputeConfig) -> Room:
    """Where the parameters let models live; the machine's memory where they ask for a card that is not here."""
    if torch.cuda.is_available() and resolve_device(compute).type == "cuda":
        card = torch.cuda.get_device_properties(0)
        return Room(card.name, card.total_memory, shared=False, libraries=600 << 20)  # CUDA's context
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = GROUP_LIMIT.read_text(encoding="utf-8").strip() if GROUP_LIMIT.is_file() else "max"
    return Room("this machine", min(pages, int(limit)) if limit.isdecimal() else pages, True, _held())


def _held() -> int:
    """Resident bytes of this process, which has imported what a step imports."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
