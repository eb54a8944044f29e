"""Kills a part of a step at a random moment, starts the step again and compares what it makes with an undisturbed run.

For each of the seven steps and each victim: are all processes gone within 10 seconds, is the lock free, is the record
of the run true, are the artifacts equal byte by byte? Runs the smoke preset in a copy of the project below `.glus/`;
`python -m experiments.kill_anything KILLS [STEP ...]`, some 20 s for each kill.
"""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from flows.workspace import prepare_smoke
from glus.commands.params import edited
from glus.execution.ties import tied
from glus.files import hash_file
from glus.pipeline.table import STEPS, Step

HOME = Path(".glus/kills").resolve()
TRAINING = ("train", "selector")
TRAINING_PROCESSES = ("first training process", "second training process")
SECONDS_TO_END = 10.0
MISSED = "not there"


@dataclass(frozen=True)
class Run:
    """A step at work under dvc, in a session of its own."""

    step: Step
    dvc: subprocess.Popen[bytes]

    def part(self, *words: str, number: int = 0) -> psutil.Process | None:
        """Of the processes below dvc whose commands hold the words, parents before children, that of a number."""
        found = [process for process in self._below() if all(word in " ".join(_command(process)) for word in words)]
        return found[number] if number < len(found) else None

    def _below(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.dvc.pid).children(recursive=True)
        return []

    def wait_for(self, find: Callable[[], object]) -> bool:
        """Whether something is found before the run ends."""
        while not find():
            if self.dvc.poll() is not None:
                return False
            time.sleep(0.002)
        return True


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def start(folder: Path, step: Step, *options: str) -> Run:
    command = [sys.executable, "-m", "dvc", "repro", "-q", "-s", *options, "sources", step.name]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
    with (folder / ".glus" / "kills.log").open("ab") as log:
        dvc = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True, preexec_fn=tied()
        )
    return Run(step, dvc)


def kill(run: Run, victim: str) -> bool:
    """Kills a part of a run; False where it is not, or no longer, there."""
    if victim == "dvc":
        run.dvc.kill()
    elif victim.startswith("group"):
        os.killpg(run.dvc.pid, signal.SIGTERM if victim == "group, SIGTERM" else signal.SIGKILL)
    else:
        words = ("multiprocessing.spawn",) if victim == "pool worker" else ("-m glus", run.step.name)
        number = TRAINING_PROCESSES.index(victim) + 1 if victim in TRAINING_PROCESSES else 0  # below the step
        run.wait_for(lambda: run.part(*words, number=number))
        part = run.part(*words, number=number)
        if part is None:
            return False
        with suppress(psutil.NoSuchProcess):
            part.kill()
    return True


def processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def outcome(folder: Path, run: Run) -> Iterator[str]:
    """What is not as it should be after a kill."""
    deadline = time.monotonic() + SECONDS_TO_END
    while (left := processes_in(folder)) and time.monotonic() < deadline:
        run.dvc.poll()
        time.sleep(0.05)
    for process in left:
        yield "alive after 10 s"
        process.kill()
    with (folder / ".glus" / "locks" / f"{run.step.name}.lock").open("a") as lock:
        while not is_free(lock):  # the kernel frees it a moment after a dying process has left its folder
            if time.monotonic() > deadline:
                yield "locked"
                break
            time.sleep(0.05)
    record = folder / "runs" / f"{run.step.name}.json"
    if record.exists() and json.loads(record.read_text())["outcome"] == "done":
        missing = [path for path in run.step.outputs if not (folder / path).exists()]
        if missing:
            yield "recorded as done"


def is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def content(folder: Path, step: Step) -> dict[str, str]:
    """Hash of each file that a step has written."""
    files = {
        file
        for output in step.outputs
        for file in ([folder / output] if (folder / output).is_file() else (folder / output).rglob("*"))
        if file.is_file()
    }
    return {file.relative_to(folder).as_posix(): hash_file(file) for file in files}


def undisturbed() -> dict[str, float]:
    """Makes the reference once; how long each step takes, in seconds."""
    times = HOME / "seconds.json"
    if not times.exists():
        shutil.rmtree(HOME, ignore_errors=True)
        shutil.move(prepare_smoke(Path.cwd()), HOME / "reference")
        params = HOME / "reference" / "params.yaml"
        params.write_text(edited(params, ["tracking.enabled=false"]))
        (HOME / "reference" / ".glus").mkdir()
        seconds = {}
        for step in STEPS:
            begin = time.monotonic()
            if start(HOME / "reference", step).dvc.wait() != 0:
                sys.exit(f"{step.name} failed undisturbed; see {HOME}/reference/.glus/kills.log")
            seconds[step.name] = time.monotonic() - begin
        times.write_text(json.dumps(seconds))
    return json.loads(times.read_text())


def try_kill(step: Step, victim: str, moment: Callable[[Run], bool]) -> list[str]:
    """Kills the victim at the moment and starts again; what went wrong, in words."""
    folder = HOME / "work"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(HOME / "reference", folder, symlinks=True)
    (folder / "runs" / f"{step.name}.json").unlink()
    run = start(folder, step, "--force")
    try:
        if not moment(run) or not kill(run, victim):
            return [MISSED]
        faults = list(outcome(folder, run))
    finally:
        for process in processes_in(folder):
            process.kill()
        run.dvc.wait()
    if start(folder, step).dvc.wait() != 0:
        return [*faults, "does not start again"]
    return faults + ["differs"] * (content(folder, step) != content(HOME / "reference", step))


def attempts(step: Step, seconds: float, kills: int) -> Iterator[tuple[str, Callable[[Run], bool]]]:
    """Victims and moments: random ones, then the window after each of a step's outputs."""
    generator = random.Random(step.name)
    parts = TRAINING_PROCESSES if step.name in TRAINING else ("pool worker",)
    for victim in ("step", "dvc", "group, SIGTERM", "group, SIGKILL", *parts):
        for _ in range(kills):
            wait = generator.uniform(0, seconds)
            yield victim, lambda run, wait=wait: time.sleep(wait) or run.dvc.poll() is None
    for output in step.outputs:

        def published(run: Run, output: str = output) -> bool:
            target = HOME / "work" / output
            run.wait_for(lambda: not target.exists())  # dvc removes it first
            return run.wait_for(target.exists)

        for _ in range(kills):
            yield f"step, after {output}", published


def main(kills: int, names: list[str]) -> None:
    seconds = undisturbed()
    total: Counter[str] = Counter()
    print(f"{'step':<12} {'victim':<40} kills  what went wrong", flush=True)
    for step in STEPS:
        if names and step.name not in names:
            continue
        rows: dict[str, Counter[str]] = {}
        for victim, moment in attempts(step, seconds[step.name], kills):
            faults = try_kill(step, victim, moment)
            rows.setdefault(victim, Counter()).update(["kills" if faults != [MISSED] else MISSED, *set(faults)])
        for victim, row in rows.items():
            wrong = {word: count for word, count in row.items() if word not in ("kills", MISSED)}
            print(f"{step.name:<12} {victim:<40} {row['kills']:>5}  {wrong or '-'}", flush=True)
            total.update({"kills": row["kills"]} | wrong)
    print(f"{'':<12} {'all':<40} {total.pop('kills', 0):>5}  {dict(total) or '-'}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
