"""Shards on machines of their own: the same bytes, whoever is killed; nothing goes on for a step that has ended."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from patience import SECONDS, all_gone, comes_true
from toy_pieces import (
    Machines,
    content,
    environment,
    kill_always,
    kill_once,
    leave,
    made,
    note_devices,
    refuse,
    squares,
)

from glus.errors import InputError, KilledError
from glus.execution.shards import signs
from glus.execution.shards import spread as spreading
from glus.execution.shards.request import Requests, Shard
from glus.execution.shards.signs import Watch, signs_of_life
from glus.execution.shards.spread import cut, spread

EXPECTED = [f"{number**2}\n".encode() * 1000 for number in range(8)]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spreading, "SECONDS_TO_SAY_SO", SECONDS)  # else a shard that is slow to end is told to
    return tmp_path


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_number_of_shards_makes_the_same(count: int) -> None:
    machines = Machines()
    assert sorted(spread(squares(8), count, machines)) == list(range(8))
    assert len(machines.processes) == count
    assert content(squares(8)) == EXPECTED
    assert sorted(made()) == list(range(8))
    assert not any(machine.poll() for machine in machines.processes)


def test_cuts_are_even_and_neighbours_stay_together() -> None:
    assert cut([3, 4, 5, 7, 9], 2) == [[3, 4], [5, 7, 9]]
    assert cut([3, 4], 5) == [[3], [4]]
    assert cut([], 5) == []


@pytest.mark.parametrize("event", [kill_once, leave])
def test_a_lost_shard_is_asked_for_again_without_what_it_has_made(
    event: object, caplog: pytest.LogCaptureFixture
) -> None:
    machines = Machines()
    list(spread(squares(8, partial(event, 6)), 2, machines))  # type: ignore[arg-type]
    assert content(squares(8)) == EXPECTED
    assert len(machines.processes) == 3
    assert sorted(made()) == list(range(8))
    assert "A shard was lost (exit code" in caplog.text and "its 2 unfinished videos" in caplog.text


def test_what_is_always_lost_ends_the_step() -> None:
    machines = Machines()
    with pytest.raises(KilledError, match=r"lost 3 times, with 2 videos to do from 0000006-0024\.txt on: exit code -9"):
        list(spread(squares(8, partial(kill_always, 6)), 2, machines))
    assert len(machines.processes) == 4
    assert {4, 5, 6, 7} & set(squares(8).missing()) == {6, 7}  # the other shard may have been at work still


def test_an_error_keeps_its_words_and_its_kind() -> None:
    machines = Machines()
    with pytest.raises(InputError, match=r"seven is not a number of ours \(on .+\)"):
        list(spread(squares(8, partial(refuse, 7)), 1, machines))
    assert len(machines.processes) == 1


def test_a_machine_with_another_folder_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    shard = Requests(squares(3)).write([0, 1])
    command = [sys.executable, "-m", "glus", "shard", shard.request, shard.token]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(command, cwd=elsewhere, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert "is not what the step wrote" in done.stderr and "compute.engine" in done.stderr
    for request in ("../outside.json", "params.yaml"):
        done = subprocess.run([*command[:4], request, shard.token], env=environment(), capture_output=True, text=True)
        assert done.returncode == 2


def test_nothing_is_begun_for_a_step_that_has_ended() -> None:
    shard = Requests(squares(3)).write([0, 1])
    command = [sys.executable, "-m", "glus", "shard", shard.request, shard.token]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        1, "glus: The step that asked for this shard has ended; nothing more is done for it.\n",
    )  # fmt: skip
    assert squares(3).missing() == [0, 1, 2]


class Orphans(Machines):
    """Machines that nobody can tell to end."""

    def cancel(self, runs: object) -> None:
        pass


def test_a_shard_ends_with_the_step_that_asked_for_it() -> None:
    first = subprocess.Popen([sys.executable, "-c", STEP], env=environment())
    try:
        assert comes_true(lambda: Path("at-work").exists() or first.poll() is not None)
        worker = psutil.Process(int(Path("at-work").read_text()))
        first.terminate()
        assert all_gone([worker])
    finally:
        first.kill()
        first.wait()


STEP = """
import signal, sys
from toy_pieces import wait, squares
from test_shards import Orphans
from glus.execution.shards.spread import spread
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
list(spread(squares(2, wait), 1, Orphans()))
"""


def test_signs_tell_the_living_from_the_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(signs, "time", clock)
    monkeypatch.setattr(signs, "SECONDS_BETWEEN_SIGNS", 0.02)
    file = tmp_path / "lease"
    with signs_of_life(file, "a"):
        assert Watch(file, "a").is_there() and not Watch(file, "b").is_there()
        watch, seen = Watch(file, "a"), ""
        for _ in range(8):
            assert comes_true(lambda seen=seen: file.read_text() != seen)
            seen = file.read_text()
            assert not watch.is_silent()
            clock.now += signs.SECONDS_TO_BELIEVE
    assert not watch.is_there()
    file.write_text(seen)  # as a killed writer leaves it
    watch = Watch(file, "a")
    assert not watch.is_silent()
    clock.now += signs.SECONDS_TO_BELIEVE
    assert not watch.is_silent()
    clock.now += 1.0
    assert watch.is_silent() and watch.is_there()


def test_a_shard_takes_a_device_that_no_other_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLUS_DEVICE_SLOTS", "2")
    monkeypatch.setenv("GLUS_DEVICE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    list(spread(squares(2, note_devices, devices=1), 2, Machines()))
    assert [path.read_text() for path in tmp_path.glob("devices-*")] == ["1", "1"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


def test_a_request_lies_in_the_scratch_folder() -> None:
    shard = Requests(squares(3)).write([2])
    assert shard == Shard(Path.cwd().as_posix(), f".glus/work/toy/pieces/.shards/00000-{shard.token}.json", shard.token)
    assert squares(3).missing() == [0, 1, 2]
