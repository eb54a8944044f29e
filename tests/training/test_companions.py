"""Processes that cannot do without each other: one end is the end of all, at once and with a reason."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from execution.test_ties import DEAF, gone
from local_imports import ROOT

from glus.errors import InputError, KilledError
from glus.training.loop.companions import companions


def work(ready, number, what, folder):
    """Does what it is told, where it is told to."""
    if what == "killed early":
        os.kill(os.getpid(), signal.SIGKILL)
    ready()
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "bad input":
        raise InputError("frame 7 is broken")
    if what == "bug":
        raise ZeroDivisionError("no reason")
    (folder / str(number)).write_text("done")


def test_all_are_ready_and_done(tmp_path):
    with companions(2, work, "well", tmp_path) as others:
        others.wait_until_ready()
        others.wait_until_done()
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("killed early", KilledError, "1 of the 1 other training processes failed (process 1 was killed by SIGKILL"),
        ("killed", KilledError, "1 of the 1 other training processes failed (process 1 was killed by SIGKILL"),
        ("bad input", InputError, "frame 7 is broken"),
        ("bug", Exception, "1 of the 1 other training processes failed (see above)."),
    ],
)
@pytest.mark.parametrize("where", ["waits for it", "works"])
def test_the_end_of_one_is_raised_wherever_the_first_is(tmp_path, what, error, words, where):
    start = time.monotonic()
    with pytest.raises(error) as raised, companions(1, work, what, tmp_path) as others:
        if where == "waits for it":
            others.wait_until_ready()
            others.wait_until_done()
        time.sleep(60)
    assert str(raised.value).startswith(words)
    assert time.monotonic() - start < 20


def nap(ready, number):
    """Names itself and never gets ready."""
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(600)


FIRST = (
    "import os\nfrom glus.training.loop.companions import companions\nfrom test_companions import *\n"
    "with companions(2, nap) as others:\n    "
)


@pytest.fixture
def first(request):
    """A process with two companions, in a group of its own, and its companions."""
    process = subprocess.Popen(
        [sys.executable, "-c", FIRST + request.param], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tests' / 'training'}"},
        start_new_session=True,
    )  # fmt: skip
    try:
        pids = {int(process.stdout.readline()) for _ in range(2 + (request.param != WAITING))} - {process.pid}
        yield process, [psutil.Process(pid) for pid in pids]
    finally:
        process.kill()
        process.communicate()


WAITING = "others.wait_until_ready()"
IN_C = DEAF.replace("\n", "\n    ")


@pytest.mark.parametrize("first", [WAITING, IN_C], indirect=True, ids=["waits for them", "waits in C"])
def test_a_killed_one_ends_the_first_with_a_reason(first):
    process, others = first
    others[0].kill()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "1 of the 2 other training processes failed (process" in errors.splitlines()[-1]
    assert all(map(gone, others))


@pytest.mark.parametrize("first", [IN_C], indirect=True, ids=["waits in C"])
def test_they_end_with_the_first(first):
    process, others = first
    process.kill()
    assert all(map(gone, others))


@pytest.mark.parametrize("first", [WAITING], indirect=True, ids=["waits for them"])
def test_a_signal_to_the_group_is_heard_while_they_start(first):
    process, others = first
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=20) != 0
    assert all(map(gone, others))
