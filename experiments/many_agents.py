"""Agents that share one DVC remote and one Prefect server: is each step computed once, and what does sharing cost?

`python -m experiments.many_agents AGENTS ROUNDS`: every agent is a clone of its own that runs the flow, all at the same
moment; each round has a new seed, so that everything is stale again. The steps wait a second and compute nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.light_project import computed, write_light_project
from glus.execution.ties import tied
from glus.pipeline.table import STEPS

HOME = Path(".glus/agents").resolve()
FLOW = "from flows.pipeline import glus; raise SystemExit(0 if glus(return_state=True).is_completed() else 1)"


@contextmanager
def prefect_server() -> Iterator[str]:
    """A server of its own for the experiment; yields its address."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        from prefect.settings import PREFECT_API_URL

        yield str(PREFECT_API_URL.value())


def run_agents(folders: list[Path], server: str, log: Path) -> list[int]:
    """Runs the flow in all clones at once; their exit codes."""
    environment = os.environ | {
        "PREFECT_API_URL": server,
        "PREFECT_HOME": str(HOME / "prefect"),
        "DO_NOT_TRACK": "true",
    }
    with log.open("ab") as output:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", FLOW],
                cwd=folder,
                env=environment,
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


def main(agents: int, rounds: int, seconds: float = 1.0) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    ledger, remote = HOME / "ledger", HOME / "remote"
    folders = [
        write_light_project(HOME / f"agent{number}", ledger, seconds=seconds, remote=str(remote))
        for number in range(agents)
    ]
    wanted = Counter[str]()
    with prefect_server() as server:
        for seed in range(rounds):
            for folder in folders:
                set_seed(folder, seed)
            begin = time.monotonic()
            codes = run_agents(folders, server, HOME / "log")
            wanted.update(f"{step.name} {seed}" for step in STEPS)
            made = Counter(computed(ledger))
            results = {(folder / "results" / "evaluate.txt").read_text() for folder in folders}
            print(
                f"round {seed}: {agents} agents, {time.monotonic() - begin:.0f} s, {sum(code == 0 for code in codes)}"
                f" ended well, {len(results)} different results, lost {sum((wanted - made).values())}, doubled"
                f" {sum((made - wanted).values())}",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
