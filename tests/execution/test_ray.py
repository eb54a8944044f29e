"""Shards as tasks of Ray: the same bytes, exit codes that are caught, a killed one asked for again, nothing left."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from patience import SECONDS, all_gone, comes_true
from toy_pieces import content, environment, kill_once, leave, made, squares

pytest.importorskip("ray", reason="ray is not installed (pip install 'glus[ray]')")

from glus.execution.shards.ray_engine import open_cluster
from glus.execution.shards.spread import spread

EXPECTED = [f"{number**2}\n".encode() * 1000 for number in range(8)]


@pytest.fixture(scope="module", autouse=True)
def machine() -> Iterator[None]:
    """A cluster of this machine, whose tasks find the toys; the steps of the tests are its drivers."""
    before = dict(os.environ)
    os.environ |= environment()
    os.environ["CUDA_VISIBLE_DEVICES"] = "3"
    yield
    os.environ.clear()
    os.environ |= before


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def note_devices(number: int) -> None:
    Path(f"devices-{number}").write_text(repr(os.environ.get("CUDA_VISIBLE_DEVICES")))


def events(number: int) -> None:
    """One shard leaves with `sys.exit`, another is killed; all are asked what they see of the step's GPUs."""
    note_devices(number)
    leave(2, number)
    kill_once(6, number)


def test_ray_makes_the_same_though_shards_leave_and_die(caplog: pytest.LogCaptureFixture) -> None:
    list(spread(squares(8, events), 3, open_cluster))
    assert content(squares(8)) == EXPECTED
    assert sorted(made()) == list(range(8))
    assert "exit code 0" in caplog.text and "exit code -9" in caplog.text
    assert {path.read_text() for path in Path().glob("devices-*")} == {"''"}


STEP = """
from toy_pieces import wait, squares
from glus.execution.shards.ray_engine import open_cluster
from glus.execution.shards.spread import spread
list(spread(squares(2, wait), 1, open_cluster))
"""


def test_a_killed_step_leaves_no_shard() -> None:
    step = subprocess.Popen([sys.executable, "-c", STEP])
    assert comes_true(lambda: Path("at-work").exists() or step.poll() is not None)
    worker = psutil.Process(int(Path("at-work").read_text()))
    step.kill()
    step.wait()
    assert all_gone([worker], SECONDS)
