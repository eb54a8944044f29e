"""In plain words what torch says of the end of a process that this one needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.distributed import DistError

from glus.errors import KilledError, LostProcessError


@contextmanager
def naming_killed_processes() -> Iterator[None]:
    """Around training.

    Raises:
        KilledError: a process that makes batches was killed.
        LostProcessError: another process that trains has ended.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker (pid" in str(error):
            raise KilledError(
                "A process that makes training batches (compute.workers) was killed, perhaps because memory ran out."
                " Start again to go on from the last checkpoint."
            ) from error
        if isinstance(error, DistError) or any(word in str(error) for word in ("gloo", "NCCL")):
            raise LostProcessError(
                "Another training process has ended, so that this one could not go on. Start again to go on from the"
                " last checkpoint."
            ) from error
        raise
