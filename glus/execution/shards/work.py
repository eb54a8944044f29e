"""What a process does that works on a shard, wherever it was started: `glus shard`."""

from __future__ import annotations

import os
import threading

from glus.errors import KilledError
from glus.execution.device_locks import held_devices
from glus.execution.pieces import PieceMaker
from glus.execution.progress import show_progress
from glus.execution.shards.request import LEASE, THREADS, Shard, read_pieces, read_request, write_outcome
from glus.execution.shards.signs import SECONDS_BETWEEN_SIGNS, Watch, signs_of_life
from glus.execution.ties import end_hard

ENDED = "The step that asked for this shard has ended; nothing more is done for it."


def work_on(shard: Shard) -> None:
    """Makes the pieces of a shard, as long as the step that asked for them is there to take them.

    Raises:
        InputError: the step's folder is not there.
        KilledError: the step has ended.
    """
    asked = read_request(shard)
    step = Watch(shard.file.with_name(LEASE), shard.token)
    if not step.is_there():
        raise KilledError(ENDED)
    os.environ[THREADS] = str(asked.threads)  # before numpy is imported, with the pieces
    with signs_of_life(shard.sign, shard.token):
        threading.Thread(target=_end_with, args=(step,), daemon=True).start()
        try:
            with held_devices(asked.devices, f"a shard of {shard.file.parent.parent}"):
                make = PieceMaker(read_pieces(shard))
                for _ in show_progress(map(make, asked.numbers), "videos of this shard", total=len(asked.numbers)):
                    pass
        except KilledError:
            raise
        except Exception as error:
            write_outcome(shard, error)
            raise


def _end_with(step: Watch) -> None:
    """Ends this process when the step is gone: nothing outlives what started it, on other machines too."""
    while step.is_there() and not step.is_silent():
        threading.Event().wait(SECONDS_BETWEEN_SIGNS)
    end_hard(ENDED)
