"""Several variants side by side, each in a process of its own that ends with this one."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence

from glus.errors import GlusError
from glus.execution.device_locks import visible_devices
from glus.execution.ties import PARENT

logger = logging.getLogger(__name__)

SECONDS_TO_STOP = 7.0  # more than a variant takes, with dvc and the step that it runs


def places(processes: int) -> int:
    """How many variants there are devices for; one where there are none."""
    return max(1, len(visible_devices()) // processes)


def run_together(commands: Sequence[Sequence[str]], at_once: int) -> None:
    """Runs commands of `glus`, some at a time; after a failure those at work are finished, and no other is begun.

    Raises:
        GlusError: some have failed; names them.
        KeyboardInterrupt: Ctrl-C or SIGTERM; all were stopped.
    """
    waiting, running = list(commands), dict[int, tuple[Sequence[str], subprocess.Popen[bytes]]]()
    failed: list[str] = []
    done = 0
    try:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < at_once:
                command = waiting.pop(0)
                process = _start(command)
                running[os.pidfd_open(process.pid)] = command, process
            ended, _, _ = select.select(running, [], [])
            for descriptor in ended:
                command, process = running.pop(descriptor)
                os.close(descriptor)
                done += 1
                if process.wait() != 0:
                    failed.append(f"`glus {' '.join(command)}` (exit code {process.returncode})")
                logger.info("ablate: variants %d/%d", done, len(commands))
    except BaseException:
        _stop([process for _, process in running.values()])
        raise
    if failed:
        left = f" {len(waiting)} were not begun." if waiting else ""
        raise GlusError(
            f"{', '.join(failed)} failed; the lines above say why.{left} The same command goes on from there."
        )


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "glus", *command],
        env=os.environ | {PARENT: str(os.getpid())},
        start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the others
    )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
