"""`glus doctor`: what this machine has, and what would stop a run of the present parameters."""

from __future__ import annotations

import base64
import json
import os
import platform
import shutil
import socket
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glus.files import to_json
from glus.pipeline.dvc_lock import RECORD, lock_is_torn

if TYPE_CHECKING:
    from glus.config import Config

PACKAGES = ("torch", "torchvision", "transformers", "peft", "sam2", "dvc", "prefect", "mlflow", "pandas", "pyarrow")
FOLDERS = (".glus", "data", "models", "predictions", "metrics", "reports", "runs")
PORTS = {"prefect": ("PREFECT_SERVER_API_PORT", "4200"), "mlflow": ("MLFLOW_PORT", "5000")}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Check versions, device, parameters and what they need, MLflow, folders and ports; exit code 1 for a problem."""
    facts, problems = _facts(), _problems()
    of_prefect, found = _prefect()
    facts, problems = facts | of_prefect, problems + found
    config, of_parameters = _parameters()
    problems += of_parameters
    if config is not None:
        problems += _missing(config) + _device_problems(config)
        of_mlflow, found = _mlflow(config)
        facts |= of_mlflow
        problems += found
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
    for name, (variable, usual) in PORTS.items():
        port = os.environ.get(variable, usual)
        facts[f"port {port}"] = f"in use ({name}, if `make serve` is running)" if _in_use(port) else "free"
    facts["telemetry"] = "off" if os.environ.get("DO_NOT_TRACK") == "true" else "on, unless DO_NOT_TRACK=true"
    facts["dvc's queue"] = "ready" if shutil.which("dvc") else "needs `dvc` on PATH (`make setup` sees to that)"
    return facts


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _in_use(port: str) -> bool:
    with socket.socket() as probe:
        return port.isdecimal() and probe.connect_ex(("127.0.0.1", int(port))) == 0


def _problems() -> list[str]:
    missing = [package for package in PACKAGES if _version(package) == "not installed"]
    problems = [f"{package} is not installed; run `make setup`" for package in missing]
    for name in FOLDERS:
        folder = Path(name) if Path(name).exists() else Path()
        if not os.access(folder, os.W_OK):
            problems.append(f"{Path(name).resolve()} is not writable")
    if not Path("dvc.yaml").is_file():
        problems.append(f"there is no dvc.yaml in {Path.cwd()}; run from the project's root")
    if lock_is_torn(Path()):
        problems.append(f"{RECORD} is empty or broken: a dvc was killed while it wrote it; remove the file")
    return problems


def _parameters() -> tuple[Config | None, list[str]]:
    from glus.config import load_config
    from glus.errors import ConfigError

    try:
        return load_config(), []
    except ConfigError as error:
        return None, [str(error)]


def _missing(config: Config) -> list[str]:
    """Data and weights that the parameters name and that are not there."""
    from glus.pipeline.project import external_paths

    missing = {key: path for key, path in external_paths(config).items() if not path.exists()}
    return [f"{key}: {path} does not exist; see {_where(key)}" for key, path in missing.items()]


def _where(key: str) -> str:
    return "docs/datasets.md" if key.startswith("stage.") else "`Published weights` in README.md"


def _device_problems(config: Config) -> list[str]:
    import torch

    from glus.errors import InputError
    from glus.execution.devices import require_device

    try:
        require_device(config.compute)
    except InputError as error:
        return [str(error)]
    gpus, wanted = torch.cuda.device_count(), config.compute.processes
    if config.compute.device != "cpu" and 0 < gpus < wanted:
        return [f"compute.processes is {wanted}, but there are {gpus} GPUs: several processes would share one"]
    return []


def _prefect() -> tuple[dict[str, str], list[str]]:
    """The server's version, where the environment names a server, and whether it is the client's."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return {"prefect server": "not asked (PREFECT_API_URL is not set)"}, []
    secret = os.environ.get("PREFECT_API_AUTH_STRING", "")
    headers = {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"} if secret else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/admin/version", headers=headers), timeout=3
        ) as answer:
            server = str(json.load(answer))
    except (OSError, ValueError) as error:
        return {"prefect server": "no answer"}, [f"the Prefect server of PREFECT_API_URL does not answer ({error})"]
    client = _version("prefect")
    if server.split(".")[:2] == client.split(".")[:2]:
        return {"prefect server": server}, []
    problem = (
        f"the Prefect server has version {server}, the installed client {client}; they go together (docs/agents.md)"
    )
    return {"prefect server": server}, [problem]


def _mlflow(config: Config) -> tuple[dict[str, str], list[str]]:
    """What is known of MLflow's client, server and database, and why it would not take a run."""
    from glus.pipeline.mlflow_store import examine, tracking_uri, without_password
    from glus.pipeline.spool import UNSENT

    if not config.tracking.enabled:
        return {"mlflow store": "not used (tracking.enabled is false)"}, []
    uri = tracking_uri()
    state = examine(uri, config.tracking.experiment)
    facts = {
        "mlflow store": without_password(uri),
        "mlflow client": state.client,
        "mlflow server": state.server or "none",
        "mlflow schema": state.schema or "not known" if state.server is None else "the server's",
        "mlflow unsent": f"{len(list(UNSENT.glob('*')))} steps",
    }
    return facts, [state.problem] if state.problem else []
