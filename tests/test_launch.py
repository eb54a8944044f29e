"""Processes that train together: whichever ends, all end, at once, with one reason and its exit code."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from local_imports import ROOT
from patience import SECONDS, all_gone, comes_true

from glus.commands.params import edited
from glus.config import load_config
from glus.errors import ConfigError, GlusError, InputError, KilledError
from glus.execution.endings import Cause, ExitReport
from glus.launch import explained, find_rank
from glus.pipeline.runner import Interrupted, run_step


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with staged clips, whose parameters ask for two processes."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "glus").symlink_to(ROOT / "glus")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("params.yaml").write_text(
            edited(ROOT / "glus/presets/smoke.yaml", ["tracking.enabled=false", "compute.processes=2"])
        )
        run_step("stage", load_config())
    return folder


@pytest.fixture
def started(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Starts `glus train` with an action of `stub_site`; returns it, and the processes that it has started."""
    monkeypatch.chdir(project)
    for file in [*project.glob("rank-*"), *project.glob("met-*"), project / "runs/train.json"]:
        file.unlink(missing_ok=True)
    running: list[subprocess.Popen[str]] = []

    def start(action: str, *wait_for: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
        path = os.pathsep.join([str(Path(__file__).with_name("stub_site")), str(ROOT)])
        process = subprocess.Popen(
            [sys.executable, "-m", "glus", "train"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": path, "STUB": action}, start_new_session=True,
        )  # fmt: skip
        running.append(process)
        ended = comes_true(lambda: all((project / name).exists() for name in wait_for) or process.poll() is not None)
        assert ended and all((project / name).exists() for name in wait_for), process.communicate()[1]
        others = []
        for name in wait_for:
            with suppress(psutil.NoSuchProcess):  # some end at once
                others += [psutil.Process(int((project / name).read_text()))] if name.startswith("rank") else []
        return process, others

    yield start
    for process in running:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
            with suppress(psutil.NoSuchProcess):
                child.kill()
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> list[str]:
    """What `glus` complains of: the paragraphs, each a line."""
    _, errors = process.communicate(timeout=SECONDS)
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith("glus: ")]


def assert_lock_is_free(project: Path) -> None:
    with (project / ".glus/locks/train.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("action", "code", "words"),
    [
        ("bad input", 2, "glus: frame 7 is broken"),
        ("bug", 1, "glus: ZeroDivisionError: no reason (unforeseen; the traceback is in .glus/traceback.txt)"),
        ("killed", 1, "glus: 1 of the training processes was killed by SIGKILL, perhaps because memory ran out;"),
    ],
)
def test_the_failure_of_one_is_one_paragraph_with_its_exit_code(project, started, action, code, words):
    process, others = started(action, "rank-0", "rank-1")
    paragraphs = said(process)
    assert process.returncode == code
    assert len(paragraphs) == 1 and paragraphs[0].startswith(words)
    assert all_gone(others)
    assert_lock_is_free(project)
    record = project / "runs/train.json"  # a first process that has no time left writes none
    assert not record.exists() or json.loads(record.read_text())["outcome"] == "interrupted"


@pytest.mark.parametrize(("action", "wait_for"), [("is late", ("rank-0", "rank-1")), ("trains", ("met-0", "met-1"))])
def test_sigterm_ends_all_wherever_they_are(project, started, action, wait_for):
    process, others = started(action, "rank-0", "rank-1", *wait_for)
    os.killpg(process.pid, signal.SIGTERM)
    assert all_gone([psutil.Process(process.pid), *others])
    assert process.wait() == 1
    assert said(process)[-1].startswith("glus: Interrupted")
    assert_lock_is_free(project)


def test_all_end_with_the_one_that_started_them(project, started):
    process, others = started("trains", "rank-0", "rank-1", "met-0", "met-1")
    process.kill()
    assert all_gone(others)
    assert_lock_is_free(project)


class Failure:
    """What torchrun knows of a process that failed."""

    def __init__(self, folder: Path, code: int, ending: ExitReport | None = None) -> None:
        self.exitcode, self.error_file = code, str(folder / f"{id(self)}.json")
        if ending is not None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TORCHELASTIC_ERROR_FILE", self.error_file)
                patch.setattr("glus.execution.endings.SECONDS_TO_BE_SEEN", 0.0)
                ending.tell()


def test_the_first_cause_is_told(tmp_path):
    def failed(code: int, cause: Cause | None = None, time: float = 0.0, message: str = "") -> Failure:
        return Failure(tmp_path, code, cause and ExitReport(cause, time, code, message))

    bad = failed(2, Cause.BAD_INPUT, 5.0, "bad")
    bug, later = failed(1, Cause.UNFORESEEN, 1.0, "a bug"), failed(1, Cause.UNFORESEEN, 2.0, "later")
    lost, ended = failed(1, Cause.LOST_ANOTHER, 0.5, "lost"), failed(-signal.SIGTERM)
    killed, silent = failed(-signal.SIGKILL), failed(1)
    found = explained([lost, bad, ended], [])
    assert isinstance(found, GlusError) and (str(found), found.exit_code) == ("bad", InputError.exit_code)
    assert str(explained([later, lost, bug, silent], [])) == "a bug"
    assert isinstance(explained([lost, killed, silent], []), KilledError)
    assert isinstance(explained([ended, silent], []), Interrupted)
    assert str(explained([lost, ended], [])) == "lost"
    unseen = explained([lost], [Path(bad.error_file)])  # it had told, and was not gone yet
    assert isinstance(unseen, GlusError) and (str(unseen), unseen.exit_code) == ("bad", InputError.exit_code)


def test_who_has_started_us():
    compute = load_config(ROOT / "params.yaml").compute
    slurm = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "1234567"}
    assert find_rank(compute, {}) is None
    assert find_rank(compute, {"RANK": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "8"}) == 2
    assert find_rank(compute, slurm | {"SLURM_NTASKS": "1"}) is None
    assert find_rank(compute, slurm | {"SLURM_STEP_NUM_TASKS": "1"}) is None  # the batch script itself
    environment = slurm | {"MASTER_ADDR": "node-1"}
    assert find_rank(compute, environment) == 3
    assert {key: environment[key] for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")} == {
        "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_PORT": "24567",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="SLURM has started 8 tasks, but MASTER_ADDR is not set"):
        find_rank(compute, slurm)
    assert find_rank(compute.model_copy(update={"machines": 2}), slurm) is None
