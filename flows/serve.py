"""`make serve`: Prefect server and workers and MLflow on loopback, with homes inside the project; Ctrl-C stops all.

The ports are those that the two programs read themselves: `make serve PREFECT_SERVER_API_PORT=4300 MLFLOW_PORT=5100`.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import FrameType
from urllib.error import URLError

from httpx import HTTPError
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.states import crash_lost_flow_runs, crash_lost_task_runs
from glus.execution.ties import end_with_parent, tied

BIN = Path(sys.executable).parent
HOME = Path(".prefect").resolve()
LOGS = HOME / "logs"
POOLS = ("cpu", "gpu", "shards")  # what runs where: prefect.yaml
USUAL_PORTS = {"PREFECT_SERVER_API_PORT": "4200", "MLFLOW_PORT": "5000"}  # 4200 is in pyproject.toml too
PORTS = {variable: os.environ.get(variable) or usual for variable, usual in USUAL_PORTS.items()}
PREFECT, MLFLOW = (f"http://127.0.0.1:{port}" for port in PORTS.values())
SECONDS_TO_START = 180.0
SECONDS_TO_STOP = 30.0  # one after the other
SECONDS_BETWEEN_REPAIRS = 10.0

SERVER_COMMAND = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1"]
SERVER_COMMAND += ["--port", PORTS["PREFECT_SERVER_API_PORT"]]


def main() -> int:
    """Runs everything where the ports are free, until a signal comes; returns the exit code."""
    if problem := port_problem():
        print(f"serve: {problem}", file=sys.stderr)
        return 1
    LOGS.mkdir(parents=True, exist_ok=True)
    os.environ |= _environment()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    end_with_parent(os.getppid(), SECONDS_TO_STOP)  # make
    with temporary_settings({PREFECT_API_URL: f"{PREFECT}/api"}):  # of this process; the others read the environment
        return run_all()


def run_all() -> int:
    """Starts everything, waits for an end or a signal, and stops everything; returns the exit code."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        running["mlflow"] = _start("mlflow", _mlflow_command())
        running["server"] = _start("server", SERVER_COMMAND)
        _wait_for(f"{PREFECT}/api/health", running["server"], "server")
        crash_lost_flow_runs("its process is gone")
        _deploy()
        for pool in POOLS:
            running[f"worker-{pool}"] = _start(f"worker-{pool}", _worker_command(pool))
        _wait_for(f"{MLFLOW}/health", running["mlflow"], "mlflow")
        _announce()
        return _watch(running)
    except KeyboardInterrupt:
        return 0
    finally:
        _stop_all(running)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def port_problem() -> str | None:
    """What keeps a server from its port, and how to choose another one."""
    for variable, port in PORTS.items():
        if not (port.isdecimal() and 0 < int(port) < 65536):
            return f"{variable} is {port!r}, expected a port number, 1 to 65535."
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                return (
                    f"port {port} is in use on this machine. Stop what listens there, or choose another port:"
                    f" make serve {variable}={int(port) % 65535 + 1}"
                )
    if len(set(PORTS.values())) < len(PORTS):
        return f"{' and '.join(PORTS)} are both {PORTS['MLFLOW_PORT']}; each server needs a port of its own."
    return None


def _environment() -> dict[str, str]:
    """What the servers, the worker and its flows inherit; a user's own Prefect profile stays untouched."""
    return {
        "PREFECT_HOME": str(HOME),
        "PREFECT_API_URL": f"{PREFECT}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_TRACKING_URI": MLFLOW,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven idle processes otherwise
        "DO_NOT_TRACK": "true",
    }


def _mlflow_command() -> list[str]:
    # Without a server the steps write to the same two places (glus/pipeline/mlflow_uploader.py).
    options = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./mlartifacts"]
    address = ["--host", "127.0.0.1", "--port", PORTS["MLFLOW_PORT"]]
    return [str(BIN / "mlflow"), "server", *options, *address, "--workers", "1"]


def _worker_command(pool: str) -> list[str]:
    return [str(BIN / "prefect"), "worker", "start", "--pool", pool, "--type", "process", "--limit", "1"]


def _start(name: str, command: list[str]) -> subprocess.Popen[bytes]:
    """Starts a program that ends with this one; its output goes to a log."""
    print(f"starting {name} (log: {(LOGS / name).relative_to(Path.cwd())}.log)", flush=True)
    with (LOGS / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.supervisor", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the others in order
        )


def _wait_for(url: str, process: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    raise SystemExit(f"serve: {name} did not start; see {LOGS / name}.log")


def _deploy() -> None:
    for command in (
        *(["work-pool", "create", pool, "--type", "process", "--overwrite"] for pool in POOLS),
        ["--no-prompt", "deploy", "--all"],
        ["automation", "delete", "crashed without a word"],
        ["automation", "create", "--from-file", "flows/stuck_runs.yaml"],
    ):
        done = subprocess.run(
            [str(BIN / "prefect"), *command],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            preexec_fn=tied(),
        )
        if done.returncode != 0 and command[1] != "delete":  # the first time there is nothing to delete
            raise SystemExit(f"serve: `prefect {' '.join(command)}` failed: {done.stdout}{done.stderr}")


def _announce() -> None:
    print(f"\nPrefect  {PREFECT}\nMLflow   {MLFLOW}\n")
    elsewhere = PORTS["PREFECT_SERVER_API_PORT"] != USUAL_PORTS["PREFECT_SERVER_API_PORT"]
    where = f"PREFECT_API_URL={PREFECT}/api " if elsewhere else ""
    print(f"In another terminal:  {where}.venv/bin/prefect deployment run glus/full --watch")
    print("Ctrl-C stops everything.", flush=True)


def _watch(running: dict[str, subprocess.Popen[bytes]]) -> int:
    """Waits for the first end, and puts right now and then what a killed flow leaves behind."""
    names = {os.pidfd_open(process.pid): name for name, process in running.items()}
    while True:
        ended, _, _ = select.select(names, [], [], SECONDS_BETWEEN_REPAIRS)
        if ended:
            name = names[ended[0]]
            print(f"serve: {name} has ended; see {LOGS / name}.log", file=sys.stderr)
            return 1
        with suppress(HTTPError):  # a busy server; there is a next time
            crash_lost_task_runs()


def _stop_all(running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Workers first, so that their flows stop; then their states are put right, then the servers go."""
    workers = [name for name in running if name.startswith("worker")]
    for name in workers:
        _stop_program(name, running[name])
    if workers and running["server"].poll() is None:
        with suppress(HTTPError):  # the next start does it
            crash_lost_flow_runs("`make serve` was stopped")
    for name in ("server", "mlflow"):
        if name in running:
            _stop_program(name, running[name])


def _stop_program(name: str, process: subprocess.Popen[bytes]) -> None:
    print(f"stopping {name}", flush=True)
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
