"""Nothing of a supervised command is left, whoever is killed."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from patience import SECONDS, all_gone, gone

SUPERVISED = [sys.executable, "-m", "flows.supervisor"]

# A command with a child of its own, which writes both process ids and waits.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""

# A caller that holds the supervisor's standard input, as the flow does, and names the family and itself.
CALLER = """
import subprocess, sys, time
supervisor = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(supervisor.pid, supervisor.stdout.readline(), end="", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("command", "code"), [("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_exit_code_is_passed_on(command: str, code: int) -> None:
    supervisor = subprocess.Popen([*SUPERVISED, sys.executable, "-c", command], stdin=subprocess.PIPE)
    assert supervisor.wait(timeout=SECONDS) == code
    assert supervisor.stdin is not None
    supervisor.stdin.close()


@pytest.mark.parametrize(
    "end",
    [
        lambda caller, supervisor: caller.send_signal(signal.SIGKILL),
        lambda caller, supervisor: supervisor.send_signal(signal.SIGTERM),
        lambda caller, supervisor: supervisor.send_signal(signal.SIGINT),
    ],
    ids=["caller killed", "supervisor terminated", "supervisor interrupted"],
)
def test_the_whole_family_goes(end: Callable[[subprocess.Popen[str], psutil.Process], None]) -> None:
    command = [*SUPERVISED, sys.executable, "-c", FAMILY]
    with subprocess.Popen([sys.executable, "-c", CALLER, *command], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        supervisor, *family = (psutil.Process(int(pid)) for pid in caller.stdout.readline().split())
        assert len(family) == 2
        assert not any(map(gone, family))
        end(caller, supervisor)
        assert all_gone([supervisor, *family])
        caller.kill()


def test_the_command_goes_with_a_supervisor_that_is_killed() -> None:
    command = [*SUPERVISED, sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        process = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
        assert all_gone([process])


# Starts a child in a session of its own, which hears no SIGTERM of the group, names it, and ends.
LEAVES_AN_ORPHAN = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
"""


def test_what_a_command_leaves_in_another_session_goes_too() -> None:
    command = [*SUPERVISED, sys.executable, "-c", LEAVES_AN_ORPHAN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        orphan = int(supervisor.stdout.readline())
        assert supervisor.wait(timeout=SECONDS) == 0
        assert not psutil.pid_exists(orphan)


def test_a_caller_that_closes_the_pipe_stops_the_command(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [*SUPERVISED, sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    family = [psutil.Process(int(pid)) for pid in supervisor.stdout.readline().split()]
    supervisor.communicate()
    assert supervisor.returncode == 128 + signal.SIGTERM
    assert all_gone(family)
