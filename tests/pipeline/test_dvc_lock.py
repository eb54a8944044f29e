"""DVC's lock file as a killed dvc leaves it: known, and mended only where nobody is about to write it."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from glus.commands.doctor import _problems
from glus.pipeline.dvc_lock import GUARD, RECORD, lock_is_torn, mend_lock


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of one stage that has run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages:\n  one:\n    cmd: date > one.txt\n    outs: [one.txt]\n")
    assert dvc("init", "-q", "--no-scm") == dvc("repro", "-q") == 0
    return tmp_path


def dvc(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True).returncode


def test_a_torn_record_is_removed(project):
    assert not lock_is_torn(project)
    record = project / RECORD
    record.write_text("")
    assert any(str(RECORD) in problem for problem in _problems())
    assert dvc("repro", "-q", "--force") != 0
    mend_lock(project)
    assert not record.exists() and not lock_is_torn(project)
    assert dvc("repro", "-q", "--force") == 0


def test_one_that_is_being_written_is_left_alone(project):
    record = project / RECORD
    record.write_text("")
    with (project / GUARD).open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        mend_lock(project)
    assert record.exists()


def test_a_whole_record_is_left_alone(project):
    before = (project / RECORD).read_bytes()
    mend_lock(project)
    assert (project / RECORD).read_bytes() == before
    mend_lock(project / "no such project")
