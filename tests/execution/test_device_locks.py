"""A device is one task's at a time, whatever it is called and however its holder ends."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import SECONDS
from toy_pieces import environment

from glus.config import load_config
from glus.errors import InputError
from glus.execution import device_locks
from glus.execution.device_locks import held_devices, visible_devices
from glus.pipeline.runner import _devices, find_step

# Takes devices, notes when it has which, and keeps them for a while.
HOLDER = """
import os, sys, time
from glus.execution.device_locks import held_devices
count, seconds = int(sys.argv[1]), float(sys.argv[2])
with held_devices(count, "a test") as devices:
    assert os.environ.get("CUDA_VISIBLE_DEVICES", "") == ",".join(devices)
    print(*devices, flush=True)
    start = time.monotonic()
    time.sleep(seconds)
    with open("times", "a") as file:
        print(start, time.monotonic(), *devices, file=file)
"""

NVIDIA_SMI = """#!/bin/sh
echo '0, GPU-aaaa1111-0000'
echo '1, GPU-bbbb2222-0000'
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three slots, and nothing taken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLUS_DEVICE_SLOTS", "3")
    monkeypatch.setenv("GLUS_DEVICE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device_locks, "_gpus", dict)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(NVIDIA_SMI)
    program.chmod(0o755)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLUS_DEVICE_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device_locks._gpus.cache_clear()
    yield
    device_locks._gpus.cache_clear()  # other tests ask for those of this machine


def start(count: int, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(count), str(seconds)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)


def taken_by(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def test_no_two_tasks_hold_a_device_at_the_same_time() -> None:
    tasks = [start(count, 0.3) for count in (1, 2, 1, 2, 3)]
    assert [task.wait(SECONDS) for task in tasks] == [0] * 5
    for task in tasks:
        task.communicate()
    lines = [line.split() for line in Path("times").read_text().splitlines()]
    held = [(float(begin), float(end), set(devices)) for begin, end, *devices in lines]
    assert sorted(len(devices) for *_, devices in held) == [1, 1, 2, 2, 3]
    assert set().union(*(devices for *_, devices in held)) == {"0", "1", "2"}
    for index, (begin, end, devices) in enumerate(held):
        for other_begin, other_end, others in held[index + 1 :]:
            assert begin >= other_end or other_begin >= end or not devices & others


def test_a_killed_holder_frees_its_devices_and_those_who_wait_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "glus")
    with start(3, 600) as holder:
        assert taken_by(holder) == ["0", "1", "2"]
        waiting = start(1, 0)
        time.sleep(0.5)
        assert device_locks._holders(["0"], Path("locks")) == f"0 (process {holder.pid}, a test)"
        holder.kill()
    assert taken_by(waiting) == ["0"]
    waiting.communicate()


def test_whoever_waits_says_for_what(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level("INFO", "glus")
    with start(3, 600) as holder:
        taken_by(holder)
        monkeypatch.setattr(time, "sleep", lambda _: (holder.kill(), holder.wait()))  # before the second look
        with held_devices(2, "propagate") as devices:
            assert devices == ["0", "1"]
        line = f"propagate: waits for 2 of the devices 0 (process {holder.pid}, a test); 1 (process {holder.pid}, a te"
        assert line in caplog.text


@pytest.mark.parametrize("inside", ["", "folder"])
def test_a_place_that_can_hold_no_locks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GLUS_DEVICE_LOCKS", str(tmp_path / "file" / inside))
    with pytest.raises(InputError, match=r"file.* cannot hold the locks"), held_devices(1, "work"):
        pass


def test_only_what_the_task_was_given_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 1")
    with held_devices(1, "one") as devices:
        assert devices == ["2"]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "2"
    with held_devices(5, "more than there are") as devices:
        assert devices == ["2", "1"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2, 1"
    assert "CUDA_DEVICE_ORDER" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,-1,0")  # CUDA stops at the first that is none
    assert visible_devices() == ["1"]


def test_without_devices_nothing_is_taken_and_whoever_needs_none_sees_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with held_devices(0, "scores"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    monkeypatch.delenv("GLUS_DEVICE_SLOTS")
    with held_devices(2, "masks") as devices:
        assert devices == [] and "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("GLUS_DEVICE_SLOTS", "two")
    with pytest.raises(InputError, match="GLUS_DEVICE_SLOTS is 'two'"):
        visible_devices()


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_is_one_device_by_index_and_by_uuid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert visible_devices() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bbbb")
    with held_devices(1, "by uuid") as devices:
        assert devices == ["GPU-bbbb"]
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        with start(1, 0) as other, start(2, 0) as both:
            assert taken_by(other) == ["0"]
            other.wait()
            with pytest.raises(subprocess.TimeoutExpired):
                both.wait(2.0)
            both.kill()
    assert {file.name for file in (tmp_path / "locks").iterdir()} == {
        "gate", "GPU-aaaa1111-0000", "GPU-bbbb2222-0000",
    }  # fmt: skip


def test_which_steps_take_devices(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(root / "params.yaml")
    elsewhere = config.model_copy(update={"compute": config.compute.model_copy(update={"engine": "ray"})})
    on_cpu = config.model_copy(update={"compute": config.compute.model_copy(update={"device": "cpu"})})

    def taken(name: str, config: object) -> object:
        with _devices(find_step(name), config) as devices:  # type: ignore[arg-type]
            return devices

    assert taken("train", config) == taken("propagate", config) == ["0", "1"]  # compute.processes
    assert taken("train", elsewhere) == ["0", "1"] and taken("propagate", elsewhere) is None
    assert taken("train", on_cpu) is None and taken("evaluate", config) is None and taken("stage", config) is None
