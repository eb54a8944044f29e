"""Whoever is killed, and whatever anybody waits in: nothing lives on."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from local_imports import ROOT
from patience import SECONDS, all_gone

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}

# A wait in C code that no signal interrupts: a lock taken twice.
DEAF = """import ctypes
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
os.write(1, b"%d\\n" % os.getpid())
libc.pthread_mutex_lock(mutex)
libc.pthread_mutex_lock(mutex)
"""
TOLD = "import os, signal, sys, time\nfrom glus.execution.ties import *\nparent = int(sys.argv[1])\n"
ORPHANS = {
    "die_with_parent": "die_with_parent(parent)\n",
    "tie_to_parent": "os.environ['GLUS_PARENT'] = str(parent)\ntie_to_parent()\n",
    "end_with_parent": "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nend_with_parent(parent, 1.0)\n",
}
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())])
time.sleep(600)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip


@pytest.mark.parametrize("tie", ORPHANS.values(), ids=ORPHANS)
def test_a_deaf_process_ends_with_its_parent(tie: str) -> None:
    with start(PARENT, TOLD + tie + DEAF) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        assert all_gone([child])


@pytest.mark.parametrize("tie", ORPHANS.values(), ids=ORPHANS)
def test_a_parent_that_ended_before_the_first_line_is_missed(tie: str) -> None:
    gone_before = subprocess.Popen(["true"])
    gone_before.wait()
    child = start(TOLD + tie + DEAF, str(gone_before.pid))
    child.communicate(timeout=SECONDS)
    assert child.returncode != 0


@pytest.mark.parametrize("parent", ["1", "dead"])
def test_a_command_whose_dvc_is_gone_says_so_and_does_nothing(parent: str, tmp_path: object) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    told = str(dead.pid) if parent == "dead" else parent
    done = subprocess.run(
        [sys.executable, "-m", "glus", "stage"], env=ENVIRONMENT | {"GLUS_PARENT": told}, cwd=str(tmp_path),
        capture_output=True, text=True, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "glus: The process that started this command has ended; nothing was done.\n"


SIGNALLED = (
    "import os, signal, sys\nfrom glus.execution.ties import *\n"
    "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, lambda *_: None)\n"
    "with ending_within(float(sys.argv[1])):\n    "
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_deaf_process_in_time(number: int) -> None:
    child = start(SIGNALLED + DEAF.replace("\n", "\n    "), "0.5")
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(number)
    assert all_gone([psutil.Process(child.pid)])
    _, errors = child.communicate()
    assert child.returncode == 1
    assert errors == "glus: Interrupted, and stopped in the middle of a wait. What was finished is kept.\n"


def test_a_signal_that_is_heard_leaves_the_time_to_end() -> None:
    code = SIGNALLED + "os.kill(os.getpid(), signal.SIGTERM)\nprint('through')"
    assert start(code, str(2 * SECONDS)).communicate(timeout=SECONDS) == ("through\n", "")


def test_a_process_ends_when_nobody_reads_what_it_writes() -> None:
    child = start("import os, time\nfrom glus.execution.ties import *\nend_with_reader(1, 1.0)\n" + DEAF)
    assert child.stdout is not None
    child.stdout.readline()
    assert child.poll() is None
    child.stdout.close()
    assert all_gone([psutil.Process(child.pid)])
    assert child.wait() != 0
    assert child.stderr is not None
    child.stderr.close()
