"""Kills, signals and parents that go: nothing is half-written, nothing lives on, the next run goes on."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from local_imports import ROOT
from patience import SECONDS, all_gone, comes_true

from glus.commands.params import edited
from glus.files import hash_file
from glus.manifest import read_manifest
from glus.pipeline.lock import step_lock

STUB = [sys.executable, str(Path(__file__).with_name("stub.py"))]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(edited(ROOT / "glus" / "presets" / "tiny.yaml", ["tracking.enabled=false"]))
    return tmp_path


@pytest.fixture
def working(project: Path) -> Iterator[subprocess.Popen[str]]:
    """A step that is at work."""
    # a shell that runs the tests in the background makes them, and so the step, ignore Ctrl-C
    process = subprocess.Popen(
        [*STUB, "wait", "stage"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_with_one_paragraph(working: subprocess.Popen[str], number: int) -> None:
    working.send_signal(number)
    if number == signal.SIGTERM:
        working.send_signal(number)
    _, errors = working.communicate(timeout=SECONDS)
    assert working.returncode == 1
    assert errors.splitlines()[-1].startswith("glus: Interrupted.")
    assert "Traceback" not in errors
    assert json.loads(Path("runs/stage.json").read_text())["outcome"] == "interrupted"
    assert not Path("data").exists()


def test_a_second_start_says_which_process_is_at_work(working: subprocess.Popen[str]) -> None:
    second = subprocess.run([*STUB, "finish", "stage"], capture_output=True, text=True, timeout=SECONDS)
    assert second.returncode == 1
    assert second.stderr.startswith(f"glus: Step stage is at work already: process {working.pid}, since ")
    assert len(second.stderr.splitlines()) == 1


def test_after_a_kill_the_lock_is_free_and_the_piece_is_there(working: subprocess.Popen[str]) -> None:
    working.kill()
    working.wait()
    done = subprocess.run([*STUB, "finish", "stage"], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert "resumes an interrupted run" in done.stderr
    assert read_manifest(Path("data/staged")).files.keys() == {"table"}


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def test_a_step_dies_with_its_parent(project: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *STUB, "wait", "stage"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    step = psutil.Process(int(parent.stdout.readline()))
    assert step.is_running()
    parent.kill()
    parent.wait()
    assert all_gone([step])
    with step_lock("stage"):
        assert json.loads(Path("runs/stage.json").read_text())["outcome"] == "interrupted"


def test_a_start_outlasts_the_orphan_of_a_killed_dvc(project: Path) -> None:
    command = [sys.executable, "-c", PARENT, *STUB, "wait_deaf", "stage"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.kill()
    parent.wait()
    done = subprocess.run([*STUB, "finish", "stage"], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr


def test_a_signal_ends_a_step_that_waits_in_c(project: Path) -> None:
    step = subprocess.Popen(
        [*STUB, "wait_deaf", "stage"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    assert step.stdout is not None
    step.stdout.readline()
    asleep = [False] * 20

    def waits_for_good() -> bool:  # between its word and the wait it still hears
        asleep[:] = [*asleep[1:], psutil.Process(step.pid).status() == psutil.STATUS_SLEEPING]
        return all(asleep)

    assert comes_true(waits_for_good)
    step.terminate()
    assert all_gone([psutil.Process(step.pid)])
    _, errors = step.communicate()
    assert step.returncode == 1
    assert errors.splitlines()[-1].startswith("glus: Interrupted, and stopped in the middle of a wait.")
    with step_lock("stage"):
        pass


def test_a_killed_worker_ends_the_step_with_one_paragraph(project: Path) -> None:
    done = subprocess.run([*STUB, "lose_a_worker", "stage"], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("glus: One of the 2 processes that worked side by side was killed")
    assert "Traceback" not in done.stderr
    assert json.loads(Path("runs/stage.json").read_text())["outcome"] == "interrupted"


PUBLISH = """
import itertools, shutil
from pathlib import Path
from glus.publishing import publish
from glus.manifest import write_manifest
target = Path("target")
for number in itertools.count():
    source = Path("work")
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_text(str(number) * 50_000)
    write_manifest(source, step="stage", parameters={}, inputs={}, extra={"number": number})
    publish(source, target)
    if number == 0:
        print("published", flush=True)
"""


def test_a_kill_while_publishing_leaves_all_or_nothing(project: Path) -> None:
    generator = random.Random(0)
    complete = 0
    for _ in range(8):
        process = subprocess.Popen([sys.executable, "-c", PUBLISH], stdout=subprocess.PIPE, cwd=project)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(generator.uniform(0, 0.05))
        process.kill()
        process.wait()
        if not Path("target").exists():  # between the two renames
            continue
        complete += 1
        manifest = read_manifest(Path("target"))
        found = {path.name: hash_file(path) for path in Path("target").iterdir() if path.name != "manifest.json"}
        assert found == manifest.files
        assert Path("target/a").read_text() == str(manifest.extra["number"]) * 50_000
    assert complete
