"""Work in several processes: results in order, errors as they were raised, nobody left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.context import SpawnProcess

import psutil
import pytest
from patience import SECONDS, all_gone, gone

from glus.errors import GlusError, InputError, KilledError
from glus.execution.processes import map_in_processes, process_number


class Squarer:
    """Squares numbers; cannot do 7."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __call__(self, number: int) -> tuple[int, int, int]:
        if number == 7:
            raise InputError("seven is not a number of ours")
        return self.first + number**2, process_number(), os.getpid()


def refuse() -> Squarer:
    raise InputError("no model here")


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_order(count):
    results = list(map_in_processes(partial(Squarer, 1), range(6), count))
    assert [square for square, _, _ in results] == [1, 2, 5, 10, 17, 26]
    workers = {(number, pid) for _, number, pid in results}
    assert {number for number, _ in workers} <= set(range(count))
    assert len({pid for _, pid in workers}) == len(workers) <= count
    assert (os.getpid() in {pid for _, pid in workers}) == (count == 1)


def test_items_are_made_as_they_are_needed():
    """Each may hold the masks of a video: they do not wait in a queue all at once."""
    made = []

    def items():
        for number in range(40):
            made.append(number)
            yield number + 8

    results = map_in_processes(partial(Squarer, 0), items(), 2)
    assert next(results)[0] == 64
    assert len(made) <= 6
    assert [square for square, _, _ in results] == [(number + 8) ** 2 for number in range(1, 40)]


@pytest.mark.parametrize("count", [1, 2])
def test_errors_keep_their_words_and_end_the_others(count):
    before = set(multiprocessing.active_children())
    with pytest.raises(InputError, match="seven is not a number"):
        list(map_in_processes(partial(Squarer, 0), range(20), count))
    with pytest.raises(InputError, match="no model here"):
        list(map_in_processes(refuse, range(3), count))
    assert set(multiprocessing.active_children()) <= before


def sleeper():
    """Says which process it is, then works for longer than anybody would wait."""

    def work(_: int) -> None:
        os.write(1, b"%d\n" % os.getpid())
        time.sleep(2 * SECONDS)

    return work


def test_an_interrupt_ends_the_workers_at_once_and_without_a_word(root):
    code = (
        "from glus.execution.processes import map_in_processes\nfrom test_processes import sleeper\n"
        "try: list(map_in_processes(sleeper, range(9), 2))\nexcept KeyboardInterrupt: print('interrupted')"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}:{root / 'tests' / 'execution'}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    workers = [psutil.Process(int(running.stdout.readline())) for _ in range(2)]
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=SECONDS)
    assert (out.split(), err, running.returncode) == (["interrupted"], "", 0)
    assert all(map(gone, workers))


def suicide(first: int):
    """The worker that comes to the number is killed."""

    def work(number: int) -> int:
        if number == first:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    return work


def test_a_killed_worker_is_named_and_ends_the_others():
    before = set(multiprocessing.active_children())
    with pytest.raises(KilledError, match="One of the 2 processes that worked side by side was killed"):
        list(map_in_processes(partial(suicide, 3), range(9), 2))
    assert set(multiprocessing.active_children()) <= before


def lasting(first: int, last: Callable[[], None]):
    """The first item takes longer than anybody would wait, with the second the process ends."""

    def work(number: int) -> None:
        return last() if number == first else time.sleep(2 * SECONDS)

    return work


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("last", "kind", "words"), [(die, KilledError, "was killed"), (partial(sys.exit, 3), GlusError, "exit code 3 ")]
)
def test_work_that_takes_long_is_not_waited_for_when_another_process_has_ended(last, kind, words):
    before = set(multiprocessing.active_children())
    with pytest.raises(kind, match=words):
        list(map_in_processes(partial(lasting, 1, last), range(2), 2))
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("deeds", [("kill 0", "start"), ("start", "kill 0"), ("start", "kill 1")])
def test_a_process_killed_while_another_one_starts(deeds, monkeypatch):
    """The pool of the standard library waits for ever for a process that it starts while it falls apart."""
    processes, start = [], SpawnProcess.start

    def start_and_kill(process):
        processes.append(process)
        for deed in deeds if len(processes) == 2 else ("start",):
            if deed == "start":
                start(process)
            else:
                processes[int(deed[-1])].kill()
                time.sleep(0.3)

    monkeypatch.setattr(SpawnProcess, "start", start_and_kill)
    before = set(multiprocessing.active_children())
    with pytest.raises(KilledError, match="One of the 2 processes"):
        list(map_in_processes(sleeper, range(2), 2))
    assert set(multiprocessing.active_children()) <= before


class SlowToUnpickle:
    """Names the process that unpickles it, and keeps it."""

    def __reduce__(self):
        return keep, ()

    def __call__(self):
        return str


def keep():
    os.write(1, b"%d\n" % os.getpid())
    time.sleep(2 * SECONDS)


@pytest.mark.parametrize("build", ["sleeper", "SlowToUnpickle()"])
def test_workers_die_with_a_parent_that_is_killed(root, build):
    code = (
        "from glus.execution.processes import map_in_processes\nfrom test_processes import *\n"
        f"list(map_in_processes({build}, range(9), 2))"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}:{root / 'tests' / 'execution'}"},
    )  # fmt: skip
    workers = [psutil.Process(int(running.stdout.readline())) for _ in range(2)]
    running.kill()
    assert all_gone(workers)
    running.communicate()
