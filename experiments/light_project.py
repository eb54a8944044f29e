"""A project whose seven steps cost nothing: for trying what runs them, on many agents or in the middle of a kill.

`python -m experiments.light_project FOLDER` writes it. Each step waits `seconds` of params.yaml, notes in the ledger (a
file that all copies of the project share) that it was computed, and writes a text that its inputs decide.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from glus.pipeline.table import STEPS

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(__file__).with_name("light_steps.py")
PICTURE = "reports/strip.png"


def write_light_project(folder: Path, ledger: Path, *, seconds: float = 0.0, remote: str | None = None) -> Path:
    """Writes the project: seven stages that are called as the real ones are, with a DVC repository of its own."""
    package = folder / "glus"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"__path__.append({str(ROOT / 'glus')!r})  # all but what runs a step\n")
    shutil.copy2(PROGRAM, package / "__main__.py")
    (folder / "flows").symlink_to(ROOT / "flows")
    for name in ("prefect.yaml", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder)
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    with (folder / "params.yaml").open("w") as file:
        yaml.dump({"seed": 0, "seconds": seconds, "ledger": str(ledger.resolve())}, file)
    with (folder / "dvc.yaml").open("w") as file:
        yaml.dump({"stages": _stages()}, file)
    for arguments in _setting_up(remote):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


def _stages() -> dict[str, dict[str, object]]:
    python = f"{sys.executable} -m glus"
    sources = {"cmd": f"{python} sources", "always_changed": True}
    stages: dict[str, dict[str, object]] = {
        "sources": sources | {"outs": [{"sources/stage.json": {"cache": False, "persist": True}}]}
    }
    before = "sources/stage.json"
    for step in STEPS:
        outs = [f"results/{step.name}.txt"]
        stages[step.name] = {"cmd": f"{python} {step.name}", "params": ["seed"], "deps": [before], "outs": outs}
        if step.name == "evaluate":
            outs.append(PICTURE)
            stages[step.name]["metrics"] = [{"metrics/evaluate.json": {"cache": False}}]
        before = f"results/{step.name}.txt"
    return stages


def _setting_up(remote: str | None) -> list[list[str]]:
    commands = [["init", "--no-scm", "-q"], ["config", "core.analytics", "false"]]
    return commands + ([["remote", "add", "-q", "-d", "shared", remote]] if remote else [])


def computed(ledger: Path) -> list[str]:
    """What was computed, in order, as `step seed`."""
    return ledger.read_text().splitlines() if ledger.is_file() else []


if __name__ == "__main__":
    write_light_project(Path(sys.argv[1]), Path(sys.argv[1]) / "ledger")
