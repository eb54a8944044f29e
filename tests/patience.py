"""Waiting in tests: long for what has to come, and as long as is promised for what has to be gone.

Seconds are counted in looks, each after a sleep: while a machine stands still with all that runs on it, none pass.
"""

import time
from collections.abc import Callable, Iterable

import psutil

SECONDS = 600.0  # whatever a busy machine takes; what is stuck is found out after them
SECONDS_TO_END = 10.0  # promised of all that is started
SECONDS_BETWEEN_LOOKS = 0.05


def comes_true(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Whether a condition holds within some seconds."""
    for _ in range(int(seconds / SECONDS_BETWEEN_LOOKS)):
        if condition():
            return True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return bool(condition())


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended, taken note of by its parent or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(processes: Iterable[psutil.Process], seconds: float = SECONDS_TO_END) -> bool:
    """Whether processes end in time, without being waited for by this one."""
    left = list(processes)
    return comes_true(lambda: all(map(gone, left)), seconds)
