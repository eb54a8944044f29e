"""Replaces the step `train` in every process below a test: each does what `STUB` says, at once or after they met."""

import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType


def work(_: object) -> None:
    """Tells its process id, meets the others and adds numbers up for ever, if nothing else was asked of it."""
    rank, action = int(os.environ["RANK"]), os.environ["STUB"]
    Path(f"written-{rank}").write_text(str(os.getpid()))
    Path(f"written-{rank}").replace(f"rank-{rank}")  # whole once it is there
    if action == "is late" and rank == 1:
        time.sleep(600)
    import torch
    import torch.distributed as dist

    from glus.errors import InputError
    from glus.training.loop.lost import naming_killed_processes

    dist.init_process_group("gloo")
    Path(f"met-{rank}").touch()
    if rank == 1 and action == "bad input":
        raise InputError("frame 7 is broken")
    if rank == 1 and action == "bug":
        raise ZeroDivisionError("no reason")
    if rank == 1 and action == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    with naming_killed_processes():
        while True:
            dist.all_reduce(torch.ones(1))
            time.sleep(0.01)


stub = ModuleType("glus.steps.train")
stub.run = stub.run_beside = work
sys.modules["glus.steps.train"] = stub
