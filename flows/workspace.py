"""Where a flow run works: the project's folder, or a copy of it for smoke runs, whose artifacts stay apart."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.commands import Place

SMOKE = Path(".glus/smoke")


@contextmanager
def workplace(project: Path, execution: str, *, smoke: bool) -> Iterator[Place]:
    """The project itself, or its copy made anew, which one flow run at a time has to itself; others wait for it.

    Runs in the project share it: DVC's locks let one of two that want the same step wait.
    """
    if not smoke:
        yield Place(project, execution)
        return
    lock = (project / SMOKE).with_suffix(".lock")
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield Place(prepare_smoke(project), execution, (held.fileno(),))


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
