"""Runs a command and leaves nothing of it behind: `python -m flows.supervisor COMMAND ...`.

Standard input is a pipe that the caller holds open. When it closes (the caller ended, however it ended) or a signal
arrives, the whole process group of the command is stopped. Killing a flow alone would leave dvc and the step alive.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

SECONDS_TO_STOP = 30.0


def supervise(command: list[str]) -> int:
    """Runs a command in a session of its own until it ends or has to be stopped; returns its exit code."""
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the number arrives on `wake`
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    ended = os.pidfd_open(process.pid)
    ready, _, _ = select.select([ended, wake, sys.stdin], [], [])
    if ended not in ready:
        stop_group(process)
    return process.wait()


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Asks a process group to end, waits until it is empty, and kills what is left."""
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS_TO_STOP
    while _signal_group(process.pid, 0) and time.monotonic() < deadline:
        process.poll()  # a dead leader stays in its group until it is waited for
        time.sleep(0.1)
    _signal_group(process.pid, signal.SIGKILL)


def _signal_group(group: int, number: int) -> bool:
    """Sends a signal; False if nobody is left to receive it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    code = supervise(sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
