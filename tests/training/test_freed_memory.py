"""Freed memory does not stay with the process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Layer after layer, temporary tensors (64 MiB, freed) and a small one that is kept: 10 MiB in all at the end.
LAYERS = """
import psutil, torch
from glus.config import ComputeConfig
from glus.training.loop.engine import open_engine

with open_engine(ComputeConfig.model_construct(device="cpu", strategy="ddp", activation_checkpointing=True)):
    before = psutil.Process().memory_full_info().uss
    kept = []
    for _ in range(10):
        temporary = [torch.ones(2 << 20) for _ in range(8)]
        kept.append(torch.ones(1 << 18))
        del temporary
    print((psutil.Process().memory_full_info().uss - before) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_training_on_the_cpu_holds_no_more_than_what_is_kept() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # each thread of a large machine keeps memory of its own
    ended = subprocess.run([sys.executable, "-c", LAYERS], env=environment, capture_output=True, text=True, check=True)
    assert int(ended.stdout) < 30, "MiB"
