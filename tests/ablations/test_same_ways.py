"""A row by `glus ablate`, by its own line for `dvc exp run`, and by the flow: the same numbers."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ablations.toy_project import computed, write_toy_project
from local_imports import ROOT
from patience import SECONDS

ROWS = {"table-4": "local", "refinement": "round-2"}  # numbers and empty lists; a path
RESULT = Path("metrics/evaluate.json")
# In a process of its own: Prefect's harness may wait for ever where another one ran flows before.
FLOW = """
import sys
from prefect.testing.utilities import prefect_test_harness
from flows.ablations import ablations

with prefect_test_harness(server_startup_timeout=600):
    assert ablations("4", (3,), only=(sys.argv[1],), return_state=True).is_completed()
"""
GIT = ["git", "-c", "user.name=test", "-c", "user.email=test@test"]


def call(project: Path, *command: str) -> str:
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    for name in ("AUTHOR", "COMMITTER"):
        variables |= {f"GIT_{name}_NAME": "test", f"GIT_{name}_EMAIL": "test@test"}
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def glus(project: Path, *arguments: str) -> str:
    return call(project, sys.executable, "-m", "glus", *arguments)


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = write_toy_project(tmp_path_factory.mktemp("command") / "project", "tracking.enabled=false")
    for table, row in ROWS.items():
        glus(project, "ablate", table, "--only", row, "--seeds", "3")
    return project


def expected(project: Path, table: str) -> bytes:
    return (project / "ablations" / table / ROWS[table] / "seed-3" / RESULT).read_bytes()


def test_by_dvc(by_command: Path, tmp_path: Path) -> None:
    project = write_toy_project(tmp_path / "project", "tracking.enabled=false")
    (project / ".dvc" / "config").unlink()
    for command in ([*GIT, "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q", "-f"], [*GIT, "add", "-A"]):
        call(project, *command)
    call(project, *GIT, "commit", "-qm", "start")
    for table, row in ROWS.items():
        call(project, *GIT, "checkout", "-q", "params.yaml")  # which an experiment changes
        plan = json.loads(glus(project, "ablate", table, "--only", row, "--seeds", "3", "--json"))
        program, *arguments = shlex.split(plan["runs"][0]["by_hand"])
        assert program == "dvc"
        call(project, sys.executable, "-m", "dvc", *arguments)
        assert (project / RESULT).read_bytes() == expected(by_command, table)
    assert expected(by_command, "table-4") != expected(by_command, "refinement")


def test_by_the_flow(by_command: Path, tmp_path: Path) -> None:
    project = write_toy_project(tmp_path / "project", "tracking.enabled=false")
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    call(project, sys.executable, str(tmp_path / "flow.py"), ROWS["table-4"])
    assert (project / "ablations/table-4" / ROWS["table-4"] / "seed-3" / RESULT).read_bytes() == expected(
        by_command, "table-4"
    )
    assert computed(project).count("train") == 1
