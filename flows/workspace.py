"""A copy of the project for smoke runs, so that its own artifacts stay untouched."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SMOKE = Path(".glus/smoke")


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
