"""`glus doctor`: what this machine has, and what would stop a run."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from glus.files import to_json

PACKAGES = ("torch", "torchvision", "transformers", "peft", "sam2", "dvc", "prefect", "mlflow", "pandas", "pyarrow")
FOLDERS = (".glus", "data", "models", "predictions", "metrics", "reports", "runs")
PORTS = {"prefect": 4200, "mlflow": 5000}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check versions, device, parameters, folders and ports; exit code 1 if something would stop a run."""
    facts, problems = _facts(), _problems()
    if as_json:
        typer.echo(to_json({"facts": facts, "problems": problems}))
    else:
        for name, value in facts.items():
            typer.echo(f"{name:<14} {value}")
        for problem in problems:
            typer.echo(f"problem: {problem}")
        typer.echo("Nothing stands in the way." if not problems else f"{len(problems)} to mend.")
    raise typer.Exit(1 if problems else 0)


def _facts() -> dict[str, str]:
    facts = {"python": platform.python_version(), "cpus": str(os.cpu_count()), "device": _device()}
    facts |= {package: _version(package) for package in PACKAGES}
    facts["free disk"] = f"{shutil.disk_usage('.').free / 2**30:.1f} GiB"
    for name, port in PORTS.items():
        facts[f"port {port}"] = f"in use ({name}, if `make serve` is running)" if _in_use(port) else "free"
    facts["telemetry"] = "off" if os.environ.get("DO_NOT_TRACK") else "off for commands started by make and glus"
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _problems() -> list[str]:
    from glus.config import load_config
    from glus.errors import ConfigError

    missing = [package for package in PACKAGES if _version(package) == "not installed"]
    problems = [f"{package} is not installed; run `make setup`" for package in missing]
    try:
        load_config()
    except ConfigError as error:
        problems.append(str(error))
    for name in FOLDERS:
        folder = Path(name) if Path(name).exists() else Path()
        if not os.access(folder, os.W_OK):
            problems.append(f"{Path(name).resolve()} is not writable")
    if not Path("dvc.yaml").is_file():
        problems.append(f"there is no dvc.yaml in {Path.cwd()}; run from the project's root")
    return problems
