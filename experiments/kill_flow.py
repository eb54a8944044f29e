"""Kills each part of a deployed run in the middle of a step, and runs the deployment again.

For each kind of kill in each step that has such a part: are all processes of the run gone within 10 seconds, what does
Prefect say of the run, does the next run complete, and is what the step makes equal byte by byte to what an undisturbed
run makes? The smoke preset, a Prefect server and a worker below `.glus/`, a minute for each;
`python -m experiments.kill_flow [KIND or STEP ...]` chooses. The table so far is in `.glus/kill_flow/table.txt`, beside
the log of each fault.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psutil
from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling
from ruamel.yaml import YAML

from experiments.kill_anything import HOME as UNDISTURBED
from experiments.kill_anything import TRAINING, content, processes_in, undisturbed
from experiments.ports import free_port
from glus.execution.ties import tied
from glus.pipeline.table import STEPS, Step

Found = TypeVar("Found")
HOME = Path(".glus/kill_flow").resolve()
PROJECT = HOME / "project"
SUPERVISOR = ("supervisor.py", "repro")
PREFECT = [sys.executable, "-m", "prefect", "--no-prompt"]
SECONDS_TO_END = 10.0
SECONDS_AWAY = 5.0  # of the server
SECONDS_TO_APPEAR = 60.0  # of a part of a step that is at work
SECONDS_AT_MOST = 900.0  # of a run on a busy machine
TRIES = 3  # of a moment at which the victim is there
KINDS = {  # and how the run has to end
    "flow": "Crashed",
    "worker": "Crashed",
    "supervisor": "Failed",
    "dvc": "Failed",
    "step": "Failed",
    "pool worker": "Failed",
    "training process": "Failed",
    "server": "Completed",
    "cancel": "Cancelled",
    "second run": "Completed",
}
POOLED = ("pseudolabel", "keyframes", "propagate", "evaluate")  # `stage` is one process in the smoke preset


class Program:
    """A server or worker of Prefect with its output in a log."""

    def __init__(self, name: str, words: Iterable[str], folder: Path) -> None:
        self._name, self._words, self._folder = name, [*PREFECT, *words], folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        tie = tied()

        def prepare() -> None:
            tie()
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # else a worker of a background job survives its first SIGTERM

        with (HOME / f"{self._name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._words, cwd=self._folder, stdout=log, stderr=log, start_new_session=True, preexec_fn=prepare
            )

    def kill(self) -> None:
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Scene:
    """One try: the step, the run of the deployment, and who takes part."""

    step: Step
    run: UUID
    server: Program
    worker: Program
    client: SyncPrefectClient

    def part(self, *words: str) -> psutil.Process | None:
        """The first process in the project whose command holds the words, itself and no question."""
        for process in processes_in(PROJECT):
            with suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())
                told = "supervisor.py" in command and words != SUPERVISOR
                if all(word in command for word in words) and "--dry-run" not in command and not told:
                    return process
        return None

    def state(self) -> str:
        """Prefect's word for the run, once it has ended."""
        with suppress(HTTPError):  # the server has just come back
            state = self.client.read_flow_run(self.run).state
            return state.name if state is not None and state.is_final() else ""
        return ""


class MissedError(Exception):
    """The victim was not there, or the step was over before it was hit."""


def kill(kind: str, scene: Scene) -> UUID | None:
    """Does what the kind says; a second run's id."""
    if scene.part("-m glus", scene.step.name) is None:
        raise MissedError
    if kind == "second run":
        return submit(scene.client, scene.step)
    if kind == "cancel":
        scene.client.set_flow_run_state(scene.run, Cancelling())
    elif kind == "worker":
        scene.worker.kill()
    elif kind == "server":
        scene.server.kill()
        time.sleep(SECONDS_AWAY)
        scene.server.start()
        wait_for_server()
    else:
        parts = {"supervisor": SUPERVISOR, "dvc": ("-m dvc", "repro"), "step": ("-m glus", scene.step.name)}
        words = parts.get(kind, ("multiprocessing.spawn",))
        victim = flow_process(scene.worker) if kind == "flow" else wait_for_part(scene, words)
        with suppress(psutil.NoSuchProcess):
            victim.kill()
            return None
        raise MissedError
    return None


def wait_for_part(scene: Scene, words: tuple[str, ...]) -> psutil.Process:
    """A part of the step, which may have to be started yet; it is over where nothing of the run is left.

    Raises:
        MissedError: it is not there and will not come.
    """
    wait(lambda: scene.part(*words) or scene.part("-m glus", scene.step.name) is None, SECONDS_TO_APPEAR)
    found = scene.part(*words)
    if found is None:
        raise MissedError
    return found


def flow_process(worker: Program) -> psutil.Process:
    """The process of the run: a child of the worker."""
    assert worker.process is not None
    return psutil.Process(worker.process.pid).children()[0]


def wait(find: Callable[[], Found], seconds: float) -> Found:
    """What is found, once it is something, or the last answer."""
    deadline = time.monotonic() + seconds
    while not (found := find()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def submit(client: SyncPrefectClient, step: Step) -> UUID:
    deployment = client.read_deployment_by_name("glus/full")
    return client.create_flow_run_from_deployment(
        deployment.id, parameters={"options": {"workspace": "project", "until": step.name}}
    ).id


def make_project(step: Step) -> None:
    """The undisturbed project as it was before the step, with the flows."""
    shutil.rmtree(PROJECT, ignore_errors=True)
    shutil.copytree(UNDISTURBED / "reference", PROJECT, symlinks=True)
    shutil.copytree("flows", PROJECT / "flows")
    for name in ("prefect.yaml", "pyproject.toml"):
        shutil.copy2(name, PROJECT)
    shutil.rmtree(PROJECT / ".dvc/cache/runs", ignore_errors=True)  # DVC would fetch what it has made once
    for output in (*step.outputs, f"runs/{step.name}.json"):
        path = PROJECT / output
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    lock, yaml = PROJECT / "dvc.lock", YAML()
    known = yaml.load(lock)
    del known["stages"][step.name]
    yaml.dump(known, lock)


def others(server: Program, worker: Program) -> list[psutil.Process]:
    """What is at work in the project beside the servers, whose working folder it is too."""
    known = {program.process.pid for program in (server, worker) if program.process is not None}
    return [process for process in processes_in(PROJECT) if process.pid not in known]


def try_kind(kind: str, step: Step, number: int, server: Program, client: SyncPrefectClient) -> str:
    """One kill and what came of it, as a line of the table.

    Raises:
        MissedError: nothing was killed.
    """
    make_project(step)
    (HOME / "worker.log").unlink(missing_ok=True)
    worker = Program("worker", ["worker", "start", "--pool", "gpu", "--type", "process", "--limit", "2"], PROJECT)
    worker.start()
    try:
        scene = Scene(step, submit(client, step), server, worker, client)
        wait(lambda: scene.part("-m glus", step.name) or scene.state(), SECONDS_AT_MOST)
        time.sleep(random.Random(f"{kind} {step.name} {number}").uniform(0, 0.5) * undisturbed()[step.name])
        second = kill(kind, scene)
        begin = time.monotonic()
        to_end = SECONDS_TO_END if KINDS[kind] != "Completed" else SECONDS_AT_MOST
        left = wait(lambda: not others(server, worker), to_end)
        gone = f"{time.monotonic() - begin:5.1f} s" if left else "LEFT OVER"
        state = wait(scene.state, SECONDS_AT_MOST)
        stated = time.monotonic() - begin
        if kind == "worker":
            worker.start()
        again = Scene(step, second or submit(client, step), server, worker, client)
        after = wait(again.state, SECONDS_AT_MOST)
        equal = content(PROJECT, step) == content(UNDISTURBED / "reference", step)
    finally:
        worker.kill()
        for process in others(server, worker):
            process.kill()
    whole = (state, after, equal, left) == (KINDS[kind], "Completed", True, True)
    if not whole:
        shutil.copy(HOME / "worker.log", HOME / f"{kind}, {step.name}.log")
    return f"{gone:>9} {state:>10} {stated:6.1f} s   {after:<10} {equal}{'' if whole else '  FAULT'}"


def row(kind: str, step: Step, server: Program, client: SyncPrefectClient) -> str:
    """The first try that hits."""
    for number in range(TRIES):
        with suppress(MissedError):
            return f"{kind:<17} {step.name:<12} {try_kind(kind, step, number, server, client)}"
    return f"{kind:<17} {step.name:<12} the step was over, or had no such part, in {TRIES} tries"


def chosen(words: list[str]) -> Iterator[tuple[str, Step]]:
    """Kinds and steps of the command line; each kind where a step has such a part."""
    names = [step.name for step in STEPS]
    if unknown := set(words) - KINDS.keys() - set(names):
        sys.exit(f"{', '.join(sorted(unknown))}: expected {', '.join([*KINDS, *names])}")
    parts = {"pool worker": POOLED, "training process": TRAINING}
    for step in STEPS:
        for kind in KINDS:
            named = (kind in words or not KINDS.keys() & set(words), step.name in words or not set(names) & set(words))
            if all(named) and step.name in parts.get(kind, names):
                yield kind, step


@contextmanager
def prefect() -> Iterator[Program]:
    """A server with the deployment, the pool and the automation of `make serve`."""
    port = os.environ["PREFECT_API_URL"].split(":")[2].removesuffix("/api")
    server = Program("server", ["server", "start", "--host", "127.0.0.1", "--port", port], HOME)
    server.start()
    try:
        wait_for_server()
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name="gpu", type="process"))
        for words in (["deploy", "--name", "full"], ["automation", "create", "--from-file", "flows/stuck_runs.yaml"]):
            subprocess.run([*PREFECT, *words], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
        yield server
    finally:
        server.kill()


def wait_for_server() -> None:
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{os.environ['PREFECT_API_URL']}/health", timeout=2):
            return
        time.sleep(0.2)


def main(words: list[str]) -> None:
    plan = list(chosen(words))
    undisturbed()
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    make_project(STEPS[0])
    url = f"http://127.0.0.1:{free_port()}/api"
    os.environ |= {"PREFECT_API_URL": url, "PREFECT_HOME": str(HOME / "home"), "DO_NOT_TRACK": "true"}
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"  # as pyproject.toml says
    os.environ.pop("PYTHONPATH", None)  # the project's own code is run
    with temporary_settings({PREFECT_API_URL: url}), prefect() as server, get_client(sync_client=True) as client:
        lines = [f"{'killed':<17} {'during':<12} gone after    run says, after    next run   equal"]
        for kind, step in plan:
            lines.append(row(kind, step, server, client))
            (HOME / "table.txt").write_text("\n".join(lines) + "\n")
            print(lines[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
