"""An MLflow server that is killed during a step and comes back later: is anything lost, does anything take longer?

`python -m experiments.mlflow_outage SECONDS`: so long it is away. One step ends after it is back, one while it is away,
and a last one sends what that left. `MLFLOW_BACKEND_STORE_URI` names a database other than SQLite.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import chdir, suppress
from dataclasses import dataclass
from pathlib import Path

from experiments.ports import free_port
from glus.execution.ties import tied
from glus.pipeline.tracking import RunDescription, Tracker, start_tracking

HOME = Path(".glus/outage")
SECONDS_THERE = 5.0
SECONDS_BETWEEN_VALUES = 0.05
STEPS = ("goes through", "ends without it", "comes after")


@dataclass(frozen=True)
class Row:
    """What became of a step's values.

    Attributes:
        told: values that the step has logged.
        arrived: values that the server has in the end.
        status: of the run.
        there_ms: longest call while the server was there.
        away_ms: longest call while it was away.
        finish_s: what the end of the step took.
    """

    step: str
    told: int
    arrived: int
    status: str
    there_ms: float
    away_ms: float
    finish_s: float


class Server:
    """An MLflow server on a port of its own that can be killed and started again."""

    def __init__(self) -> None:
        self._port = str(free_port())
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        environment = {"MLFLOW_BACKEND_STORE_URI": "sqlite:///server.db"} | os.environ
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        command = [sys.executable, "-m", "mlflow", "server", "--port", self._port, "--workers", "1"]
        with Path("server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True, preexec_fn=tied()
            )
        while self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=2):
                return
            time.sleep(0.2)
        sys.exit(f"MLflow's server did not start; see {Path('server.log').resolve()}")

    def kill(self) -> None:
        """SIGKILL, to all of its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Told:
    """Values that a step logs, and how long each call took."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.number = 0

    def values(self, until: Callable[[], bool]) -> float:
        """Logs numbered values until it is time; the longest call, in milliseconds."""
        longest = 0.0
        while not until():
            begin = time.perf_counter()
            self.tracker.log_metrics({"train/loss": float(self.number)}, step=self.number)
            longest = max(longest, time.perf_counter() - begin)
            self.number += 1
            time.sleep(SECONDS_BETWEEN_VALUES)
        return longest * 1000

    def finish(self) -> float:
        """Ends the step; the seconds that it took."""
        begin = time.perf_counter()
        self.tracker.finish("done")
        return time.perf_counter() - begin


def after(seconds: float) -> Callable[[], bool]:
    """Whether so much time has passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def measure(seconds: float) -> list[Row]:
    """Runs the three steps in the working folder."""
    server, marks = Server(), []
    os.environ["MLFLOW_TRACKING_URI"] = server.url
    try:
        for name in STEPS:
            marks.append((name, *run_step(name, server, seconds)))
        return [Row(name, number, *stored(name), *times) for name, number, *times in marks]
    finally:
        server.kill()


def run_step(name: str, server: Server, seconds: float) -> tuple[int, float, float, float]:
    """One step; how many values it told, the longest calls with and without the server, and what its end took."""
    if name != STEPS[1]:
        server.start()
    told = Told(start_tracking(RunDescription("outage", name, name, None, {}, {})))
    there = told.values(after(SECONDS_THERE))
    away = 0.0
    if name != STEPS[2]:
        server.kill()
        away = told.values(after(seconds if name == STEPS[0] else SECONDS_THERE))
    if name == STEPS[0]:
        server.start()
        there = max(there, told.values(after(SECONDS_THERE)))
    return told.number, there, away, told.finish()


def stored(name: str) -> tuple[int, str]:
    """How many values of a step the server has, all different, and the status of its run."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("outage")
    found = client.search_runs([experiment.experiment_id], f"tags.`glus.execution` = '{name}'")
    if not found:
        return 0, "missing"
    (run,) = found
    values = {value.value for value in client.get_metric_history(run.info.run_id, "train/loss")}
    return len(values), run.info.status


def main(seconds: float) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    with chdir(HOME):
        rows = measure(seconds)
    print(f"{'step':<18} told arrived status    longest call there, away (ms)   end (s)")
    for row in rows:
        calls = f"{row.there_ms:18.1f} {row.away_ms:6.1f}"
        print(f"{row.step:<18} {row.told:>4} {row.arrived:>7} {row.status:<9}{calls} {row.finish_s:>15.1f}", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
