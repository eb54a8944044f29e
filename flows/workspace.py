"""Where a flow run works: the project's folder, or a copy of it for smoke runs, whose artifacts stay apart."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger

from flows.commands import Place

SMOKE, FLOW_LOCK = Path(".glus/smoke"), Path(".glus/flow.lock")


@contextmanager
def workplace(project: Path, execution: str, *, smoke: bool) -> Iterator[Place]:
    """The project itself, or its copy made anew, which one flow run at a time has to itself; others wait for it.

    DVC would not let them wait: what a step at work reads, a second dvc finds busy and fails.
    """
    lock = (project / SMOKE).with_suffix(".lock") if smoke else project / FLOW_LOCK
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            get_run_logger().info("Another run works in %s; this one waits for its end.", project)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield Place(prepare_smoke(project) if smoke else project, execution, (held.fileno(),))


def prepare_smoke(project: Path) -> Path:
    """Makes `.glus/smoke` anew: the code, the stages and the smallest parameters, nothing computed."""
    folder = project / SMOKE
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(project / "glus", folder / "glus", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(project / "dvc.yaml", folder)
    shutil.copy2(project / ".dvcignore", folder)
    shutil.copy2(project / "glus" / "presets" / "smoke.yaml", folder / "params.yaml")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "config", "core.analytics", "false"], cwd=folder, check=True)
    return folder
