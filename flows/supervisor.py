"""Runs a command and leaves nothing of it behind: `python -m flows.supervisor COMMAND ...`.

Standard input is a pipe that the caller holds open. When it closes (the caller ended, however it ended), a signal
arrives or the command ends, whatever it has started is stopped, in other sessions too: orphans become children of
this process. When this one is killed, the command is told by the kernel.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil

from glus.execution.ties import tied

SECONDS_TO_STOP = 7.5  # all are gone within 10; a step takes 3, and what MLflow was not told until then is told later
PR_SET_CHILD_SUBREAPER = 36


def supervise(command: list[str]) -> int:
    """Runs a command in a session of its own until it ends or has to be stopped; returns its exit code."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
    wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the number arrives on `wake`
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=tied())
    select.select([os.pidfd_open(process.pid), wake, sys.stdin], [], [])
    return stop_descendants(process)


def stop_descendants(command: subprocess.Popen[bytes]) -> int:
    """Asks all below this process to end, waits for them and kills what is left; returns the command's exit code."""
    deadline = time.monotonic() + SECONDS_TO_STOP
    below = _descendants(command)
    _send(below, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        command.wait(SECONDS_TO_STOP)
    psutil.wait_procs([process for process in below if process.pid != command.pid], max(0, deadline - time.monotonic()))
    while left := _descendants(command):  # some may have been started meanwhile
        _send(left, signal.SIGKILL)
        command.wait()
        psutil.wait_procs([process for process in left if process.pid != command.pid])
    return command.wait()


def _descendants(command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    command.poll()  # its end is noticed here, where its exit code is kept
    return psutil.Process().children(recursive=True)


def _send(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


if __name__ == "__main__":
    code = supervise(sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
