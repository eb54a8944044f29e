"""What orchestration costs for each shard: shards that do nothing, by each engine; CPU and clock.

`process` is what a shard costs at least: `glus shard` started and waited for. `local` is a step's pool of processes on
its own machine. `prefect` runs against a server and a worker of its own, `ray` where it is installed. As many shards at
a time everywhere. CPU seconds are those of all processes, servers included, so they hold on a busy machine too; the
first round, in which programs are read from disk and processes are started, stands apart.
"""

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import psutil

from glus.config import ComputeConfig, load_config
from glus.execution.engines import make_missing
from glus.execution.pieces import StepPieces
from glus.execution.shards.request import Requests
from glus.execution.shards.signs import signs_of_life

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--at-a-time", type=int, default=2)
    options = parser.parse_args()
    compute = load_config(ROOT / "params.yaml").compute.model_copy(update={"processes": options.at_a_time})
    os.environ["PYTHONPATH"] = str(ROOT)  # shards work in another folder than the clone
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        report("process", options.shards, processes)
        for engine in ("local", "prefect", "ray"):
            if engine != "ray" or importlib.util.find_spec("ray"):
                with agent(options.at_a_time) if engine == "prefect" else nullcontext():
                    changes = {"engine": engine, "shards": options.shards}
                    report(engine, options.shards, partial(make, compute.model_copy(update=changes)))


def processes(work: StepPieces) -> None:
    """A process for each shard, one after the other."""
    requests = Requests(work)
    with signs_of_life(requests.lease, requests.token):
        for number in work.missing():
            shard = requests.write([number])
            subprocess.run([sys.executable, "-m", "glus", "shard", shard.request, shard.token], check=True)


def make(compute: ComputeConfig, work: StepPieces) -> None:
    for _ in make_missing(work, compute):
        pass


def report(name: str, shards: int, spread: Callable[[StepPieces], None]) -> None:
    rounds = []
    for number in range(2):
        start, cpu = time.monotonic(), cpu_seconds()
        spread(pieces(f"{name}-{number}", shards))
        rounds.append(((cpu_seconds() - cpu) / shards, (time.monotonic() - start) / shards))
    (first_cpu, first), (cpu, wall) = rounds
    print(f"{name:8} CPU {cpu:6.2f} s, clock {wall:6.2f} s; first round {first_cpu:6.2f}, {first:6.2f}", flush=True)


def cpu_seconds() -> float:
    """Of this process and all below it, those that have ended included."""
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def pieces(name: str, count: int) -> StepPieces:
    names = tuple(f"{number:07d}.txt" for number in range(count))
    return StepPieces(Path(".glus/work") / name, names, partial(partial, write), 0)


def write(number: int, file: Path) -> None:
    file.write_text(str(number))


@contextmanager
def agent(at_a_time: int) -> Iterator[None]:
    """A server, the deployment of prefect.yaml, and a worker. Imported here: every shard imports this module."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120), tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": home}
        prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name="shards", type="process"))
        subprocess.run(
            [*prefect, "deploy", "--name", "shard"], cwd=ROOT, env=environment, check=True, capture_output=True
        )
        command = [*prefect, "worker", "start", "--pool", "shards", "--type", "process", "--limit", str(at_a_time)]
        quiet = subprocess.DEVNULL
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)
        try:
            yield
        finally:
            worker.terminate()
            worker.wait()


if __name__ == "__main__":
    importlib.import_module("experiments.cost_of_shards").main()  # by its name, as shards know the function above
