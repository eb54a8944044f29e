"""Agents that share one DVC remote and one Prefect server: is each step computed once, and what does sharing cost?

`python -m experiments.many_agents AGENTS ROUNDS [UNTIL]`: every agent is a clone of its own that runs the flow (to the
step UNTIL), all at the same moment; each round has a new seed, so that everything is stale again. The steps wait a
second and compute nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from experiments.light_project import computed, write_light_project
from experiments.ports import free_port
from glus.execution.ties import tied
from glus.pipeline.table import STEPS

HOME = Path(".glus/agents").resolve()
NAMES = [step.name for step in STEPS]
FLOW = """
import sys
from flows.pipeline import Options, glus
sys.exit(0 if glus(Options(until=sys.argv[1]), return_state=True).is_completed() else 1)
"""
SECONDS_TO_START = 600


@contextmanager
def prefect_server(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """A server of its own; yields its address. The settings may name a database.

    Raises:
        RuntimeError: it does not start; its log says why.
    """
    port = free_port()
    home.mkdir(parents=True)
    url = f"http://127.0.0.1:{port}/api"  # its page asks there, else where pyproject.toml says
    environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_API_URL": url, "DO_NOT_TRACK": "true"}
    environment |= settings or {}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, preexec_fn=tied())
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not _answers(f"{url}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Prefect's server does not start:\n{(home / 'log').read_text()}")
            time.sleep(0.5)
        yield url
    finally:
        server.terminate()
        server.wait()


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=10):
        return True
    return False


def run_agents(folders: list[Path], server: str, log: Path, until: str = NAMES[-1]) -> list[int]:
    """Runs the flow in all clones at once; their exit codes."""
    environment = os.environ | {"PREFECT_API_URL": server, "DO_NOT_TRACK": "true"}
    with log.open("ab") as output:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", FLOW, until],
                cwd=folder,
                env=environment | {"PREFECT_HOME": str(folder / ".prefect")},
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=tied(),
            )
            for folder in folders
        ]
        return [agent.wait() for agent in running]


def set_seed(folder: Path, seed: int) -> None:
    params = folder / "params.yaml"
    lines = [f"seed: {seed}" if line.startswith("seed:") else line for line in params.read_text().splitlines()]
    params.write_text("\n".join(lines) + "\n")


def main(agents: int, rounds: int, until: str = NAMES[-1], seconds: float = 1.0) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    ledger, remote = HOME / "ledger", HOME / "remote"
    folders = [
        write_light_project(HOME / f"agent{number}", ledger, seconds=seconds, remote=str(remote))
        for number in range(agents)
    ]
    wanted = Counter[str]()
    with prefect_server(HOME / "server") as server:
        for seed in range(rounds):
            for folder in folders:
                set_seed(folder, seed)
            begin = time.monotonic()
            codes = run_agents(folders, server, HOME / "log", until)
            wanted.update(f"{name} {seed}" for name in NAMES[: NAMES.index(until) + 1])
            made = Counter(computed(ledger))
            results = {(folder / "results" / f"{until}.txt").read_text() for folder in folders}
            print(
                f"round {seed}: {agents} agents, {time.monotonic() - begin:.0f} s, {codes.count(0)} ended well,"
                f" {len(results)} different results, lost {sum((wanted - made).values())}, doubled"
                f" {sum((made - wanted).values())}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4])
