"""Two agents with clones of their own: what one has made the other fetches. The steps cost nothing, the rest is real.

Minutes on a busy machine, so not in the suite: `pytest -m every_case tests/flows/test_agents.py`.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from local_imports import ROOT

from experiments.light_project import computed, write_light_project
from experiments.many_agents import prefect_server, run_agents
from experiments.ports import free_port
from glus.execution.ties import tied

STEPS = ["stage 0", "train 0"]
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "thing", "AWS_DEFAULT_REGION": "us-east-1"}
pytestmark = pytest.mark.every_case


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A database server of its own, as the user `postgres` where this is root; yields Prefect's address of it."""
    initdb = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
    if initdb is None:
        pytest.skip("no PostgreSQL on this machine (Debian: apt-get install postgresql)")
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    data, port = folder / "postgres", free_port()
    data.mkdir()
    if user:
        shutil.chown(data, "postgres", "postgres")
        for above in [folder, *folder.parents[:2]]:
            above.chmod(above.stat().st_mode | 0o011)
    subprocess.run([*user, initdb, "-D", data, "-A", "trust", "-U", "glus"], check=True, stdout=subprocess.DEVNULL)
    options = ["-D", data, "-p", str(port), "-k", data, "-h", "127.0.0.1"]
    server = subprocess.Popen([*user, initdb.with_name("postgres"), *options], preexec_fn=tied())
    try:
        ready = [initdb.with_name("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        while server.poll() is None and subprocess.run(ready).returncode != 0:
            time.sleep(0.2)
        yield f"postgresql+asyncpg://glus@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def bucket() -> Iterator[str]:
    """The address of an object store on this machine, with a bucket `glus`."""
    if find_spec("moto") is None or find_spec("dvc_s3") is None:
        pytest.skip("moto[server] or dvc-s3 is not installed")
    import boto3

    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], preexec_fn=tied())
    try:
        while server.poll() is None and socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            time.sleep(0.2)
        boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}").create_bucket(Bucket="glus")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def clones(folder: Path, remote: str) -> list[Path]:
    return [write_light_project(folder / name, folder / "ledger", remote=remote) for name in ("one", "two")]


def one_after_the_other(folders: list[Path], server: str, log: Path) -> list[int]:
    return [code for folder in folders for code in run_agents([folder], server, log, "train")]


def at_once(folders: list[Path], server: str, log: Path) -> list[int]:
    return run_agents(folders, server, log, "train")


@pytest.mark.parametrize("run", [one_after_the_other, at_once])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("store", ["folder", "s3"])
def test_what_one_agent_made_the_other_fetches(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[list[Path], str, Path], list[int]],
    database: str,
    store: str,
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        settings = {}
        if database == "postgresql":
            settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = stack.enter_context(postgres(tmp_path))
        remote = str(tmp_path / "remote") if store == "folder" else "s3://glus/results"
        folders = clones(tmp_path, remote)
        if store == "s3":
            address = stack.enter_context(bucket())
            for folder in folders:
                name = [sys.executable, "-m", "dvc", "remote", "modify", "shared", "endpointurl", address]
                subprocess.run(name, cwd=folder, check=True)
        server = stack.enter_context(prefect_server(tmp_path / "server", settings))
        log = tmp_path / "log"
        assert run(folders, server, log) == [0, 0], log.read_text()
    assert computed(tmp_path / "ledger") == STEPS
    first, second = ((folder / "results" / "train.txt").read_text() for folder in folders)
    assert first == second
