"""`deploy/compose.yaml`: whole in itself, in words that Prefect and MLflow know, and they run so on PostgreSQL."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import prefect.settings
import pytest
from local_imports import ROOT
from ruamel.yaml import YAML
from test_agents import postgres

from experiments.ports import free_port
from glus.execution.ties import tied

COMPOSE = YAML(typ="safe").load((ROOT / "deploy" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SERVERS = {"prefect": 4200, "mlflow": 5000}


def filled(text: str, values: Mapping[str, str]) -> str:
    """A value with its variables, as Compose fills them in: `${NAME:-default}`, `${NAME:?what is missing}`."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if not values.get(name) and kind == ":?":
            raise KeyError(name)
        return values.get(name) or rest or ""

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


def command(service: str, values: Mapping[str, str]) -> list[str]:
    return [sys.executable, "-m", *shlex.split(filled(SERVICES[service]["command"], values))]


def environment(service: str, values: Mapping[str, str]) -> dict[str, str]:
    """What is given; a name without a value is passed through, and not set where it is not set."""
    given = {
        name: values.get(name) if value is None else value for name, value in SERVICES[service]["environment"].items()
    }
    return {name: filled(value, values) for name, value in given.items() if value is not None}


def test_everything_that_is_named_is_there() -> None:
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"} and SERVICES[needed]["healthcheck"]
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= COMPOSE["volumes"].keys()
        assert {config["source"] for config in service.get("configs", [])} <= COMPOSE["configs"].keys()
        if build := service.get("build"):
            context = (ROOT / "deploy" / build["context"]).resolve()
            assert context == ROOT and (context / build["dockerfile"]).is_file()
    copied = re.findall(r"^COPY (\S+)", (ROOT / "deploy" / "Dockerfile").read_text(), re.M)
    assert copied and all((ROOT / name).is_file() for name in copied)


def test_without_a_password_nothing_starts_and_without_more_all_is_local_and_open_to_agents() -> None:
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD"):
        filled(SERVICES["database"]["environment"]["POSTGRES_PASSWORD"], {})
    values = {"POSTGRES_PASSWORD": "word"}
    ports = [filled(port, values) for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports == [f"127.0.0.1:{port}:{port}" for port in SERVERS.values()]
    for service in SERVERS:  # empty ones would be passwords and addresses that nobody has
        assert "" not in environment(service, values).values()
    assert environment("prefect", values | {"PREFECT_SERVER_API_AUTH_STRING": "a:b"})["PREFECT_SERVER_API_AUTH_STRING"]


def test_prefect_and_mlflow_know_their_options_and_variables() -> None:
    package = Path(find_spec("mlflow").origin).parent  # type: ignore[union-attr]
    mlflow = "".join(file.read_text() for file in (package / "environment_variables.py", *package.glob("cli/*.py")))
    for service in SERVERS:
        words = filled(SERVICES[service]["command"], {}).split()
        program, options = words[: words.index("--host")], [word for word in words if word.startswith("--")]
        asked = subprocess.run(
            [sys.executable, "-m", *program, "--help"], env=os.environ | {"COLUMNS": "200"}, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        assert len(options) >= 2 and all(option in asked.stdout for option in options)
        for name in SERVICES[service]["environment"]:
            assert hasattr(prefect.settings, name) or f'"{name}"' in mlflow or name.startswith(("AWS_", "DO_NOT_"))


@contextmanager
def running(service: str, database: str, folder: Path) -> Iterator[str]:
    """A server as Compose would start it, on this machine; yields its address once it is healthy by its own check."""
    values, port = {"POSTGRES_PASSWORD": "word", "MLFLOW_ARTIFACTS": str(folder / "artifacts")}, str(free_port())
    inside = str(SERVERS[service])

    def here(text: str) -> str:
        return text.replace("0.0.0.0", "127.0.0.1").replace("@database/", f"@{database}/").replace(inside, port)

    settings = {name: here(value) for name, value in environment(service, values).items()}
    home = {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    _, *check = SERVICES[service]["healthcheck"]["test"]
    with (folder / f"{service}.log").open("wb") as log:
        server = subprocess.Popen(
            [here(word) for word in command(service, values)], cwd=folder, env=os.environ | home | settings,
            stdout=log, stderr=log, preexec_fn=tied(),
        )  # fmt: skip
    try:
        while subprocess.run([sys.executable, *map(here, check[1:])], stderr=-3).returncode != 0:
            assert server.poll() is None, (folder / f"{service}.log").read_text()
            time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.mark.every_case
def test_the_servers_run_so_on_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow and a run of MLflow, told and read back."""
    if find_spec("psycopg2") is None:
        pytest.skip("psycopg2-binary is not installed (the extra `servers`)")
    with ExitStack() as stack:
        address = stack.enter_context(postgres(tmp_path))
        database = re.sub(r".*//|/postgres$", "", address).replace("glus@", "")
        for made in (f"CREATE DATABASE {SERVICES['database']['environment']['POSTGRES_DB']};", *SQL):
            host, port = database.split(":")
            subprocess.run(["psql", "-q", "-h", host, "-p", port, "-U", "glus", "postgres", "-c", made], check=True)
        prefect_url = stack.enter_context(running("prefect", database, tmp_path))
        mlflow_url = stack.enter_context(running("mlflow", database, tmp_path))
        told = ASK.format(prefect=prefect_url, mlflow=mlflow_url)
        done = subprocess.run([sys.executable, "-c", told], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["ran", "0.5"], done.stderr
    assert list((tmp_path / "artifacts").rglob("note.txt"))


SQL = [config["content"] for config in COMPOSE["configs"].values()]
ASK = """
import os
os.environ |= {{"PREFECT_API_URL": "{prefect}/api", "PREFECT_HOME": "home", "DO_NOT_TRACK": "true"}}
import mlflow, prefect
from prefect.client.orchestration import get_client

@prefect.flow
def ran():
    pass

ran()
with get_client(sync_client=True) as client:
    (flow,) = client.read_flows()
mlflow.set_tracking_uri("{mlflow}")
with mlflow.start_run() as run:
    mlflow.log_metric("a", 0.5)
    mlflow.log_text("x", "note.txt")
print(flow.name, mlflow.get_run(run.info.run_id).data.metrics["a"])
"""
