"""Kills a part of a step at a random moment, starts the step again and compares what it makes with an undisturbed run.

For each of the seven steps and each victim: are all processes gone within 10 seconds, is the lock free, is the record
of the run true, are the artifacts equal byte by byte? Runs the smoke preset in a copy of the project below `.glus/`;
`python -m experiments.kill_anything KILLS [STEP ...]`: so many kills of each step, some 20 s for each. The steps take
turns, and so do the victims of each; the table so far is in `.glus/kills/table.txt`, beside the log of each fault.
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
from itertools import cycle
from pathlib import Path
from typing import IO

import psutil

from flows.workspace import prepare_smoke
from glus.commands.params import edited
from glus.execution.ties import tied
from glus.files import hash_file
from glus.pipeline.dvc_lock import lock_is_torn, mend_lock
from glus.pipeline.table import STEPS, Step

HOME = Path(".glus/kills").resolve()
TRAINING = ("train", "selector")
TRAINING_PROCESSES = ("first training process", "second training process")
GROUP = {f"group, {number.name}": number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)}
SECONDS_TO_END = 10.0
SECONDS_UNTIL_STUCK = 50.0  # of a busy machine, which 10 seconds may be too little for
SECONDS_AT_MOST = 300.0  # of a step on a busy machine
MISSED = "not there"
NOT_NEEDED = "went on without"
TORN = "dvc's lock torn"  # by the kill: see docs/safety.md
HARMLESS = ("kills", MISSED, NOT_NEEDED)
TRIES = 3  # of a moment at which the victim is there


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
    tie = tied()

    def prepare() -> None:
        tie()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the experiment runs in the background

    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
    with (folder / ".glus" / "kills.log").open("ab") as log:
        dvc = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True, preexec_fn=prepare
        )
    return Run(step, dvc)


def kill(run: Run, victim: str) -> bool:
    """Kills a part of a run; False where it is not, or no longer, there."""
    if victim == "dvc":
        run.dvc.kill()
    elif victim in GROUP:
        os.killpg(run.dvc.pid, GROUP[victim])
    else:
        words = ("-m glus", run.step.name) if victim.startswith("step") else ("multiprocessing.spawn",)
        number = TRAINING_PROCESSES.index(victim) if victim in TRAINING_PROCESSES else 0
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


def outcome(folder: Path, run: Run, victim: str) -> Iterator[str]:
    """What is not as it should be after a kill."""
    deadline = time.monotonic() + SECONDS_TO_END
    if not left_after(folder, run, SECONDS_TO_END):
        yield from locked(folder, run.step, deadline)
    elif victim == "pool worker" and ends_well(run):  # it had nothing left to do
        yield NOT_NEEDED
    else:
        yield f"alive after {SECONDS_TO_END:.0f} s"
        left = left_after(folder, run, SECONDS_UNTIL_STUCK)
        if left:  # else the machine was busy
            yield f"alive after {SECONDS_TO_END + SECONDS_UNTIL_STUCK:.0f} s"
        for process in left:
            process.kill()
    record = folder / "runs" / f"{run.step.name}.json"
    if record.exists() and json.loads(record.read_text())["outcome"] == "done":
        missing = [path for path in run.step.outputs if not (folder / path).exists()]
        if missing:
            yield "recorded as done"


def left_after(folder: Path, run: Run, seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while (left := processes_in(folder)) and time.monotonic() < deadline:
        run.dvc.poll()
        time.sleep(0.05)
    return left


def ends_well(run: Run) -> bool:
    """Whether the step, given all the time that it may need, does what it should."""
    with suppress(subprocess.TimeoutExpired):
        return run.dvc.wait(SECONDS_AT_MOST) == 0
    return False


def locked(folder: Path, step: Step, deadline: float) -> Iterator[str]:
    with (folder / ".glus" / "locks" / f"{step.name}.lock").open("a") as lock:
        while not is_free(lock):  # the kernel frees it a moment after a dying process has left its folder
            if time.monotonic() > deadline:
                yield "locked"
                return
            time.sleep(0.05)


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
    """Makes the reference, once for the code as it is; how long each step takes, in seconds."""
    code = {file.as_posix(): hash_file(file) for file in sorted(Path("glus").rglob("*.py"))}
    notes = HOME / "reference.json"
    if notes.exists() and json.loads(notes.read_text())["code"] == code:
        return json.loads(notes.read_text())["seconds"]
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
    notes.write_text(json.dumps({"code": code, "seconds": seconds}))
    return seconds


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
        faults = list(outcome(folder, run, victim))
    finally:
        for process in processes_in(folder):
            process.kill()
        run.dvc.wait()
    if start(folder, step).dvc.wait() != 0:
        if not lock_is_torn(folder):
            return [*faults, "does not start again"]
        faults.append(TORN)
        mend_lock(folder)
        start(folder, step).dvc.wait()
    return faults + ["differs"] * (content(folder, step) != content(HOME / "reference", step))


def moments(step: Step, seconds: float, generator: random.Random) -> Iterator[tuple[str, Callable[[Run], bool]]]:
    """Victims and when to kill them: at a random moment; then in the window after each of a step's outputs."""

    def later(run: Run) -> bool:
        time.sleep(generator.uniform(0, seconds))
        return run.dvc.poll() is None

    for victim in ("step", "dvc", *GROUP):
        yield victim, later
    if step.name != "stage":  # which works in one process in the smoke preset
        for victim in TRAINING_PROCESSES if step.name in TRAINING else ("pool worker",):
            yield victim, later
    for output in step.outputs:

        def published(run: Run, output: str = output) -> bool:
            target = HOME / "work" / output
            run.wait_for(lambda: not target.exists())  # dvc removes it first
            return run.wait_for(target.exists)

        yield f"step, after {output}", published


def count(step: Step, victim: str, moment: Callable[[Run], bool]) -> Counter[str]:
    """One kill and what went wrong, in counts."""
    for _ in range(TRIES):
        faults = try_kill(step, victim, moment)
        if faults != [MISSED]:
            if set(faults) - set(HARMLESS):
                shutil.copy(HOME / "work/.glus/kills.log", HOME / f"{step.name} {time.time():.0f}.log")
            return Counter(["kills", *set(faults)])
    return Counter([MISSED])


def table(rows: dict[tuple[str, str], Counter[str]]) -> str:
    """Kills so far and what went wrong, by step and victim."""
    lines = [f"{'step':<12} {'victim':<40} kills  what went wrong"]
    order = [step.name for step in STEPS]
    shown = dict(sorted(rows.items(), key=lambda item: order.index(item[0][0])))
    for (step, victim), row in (shown | {("", "all"): sum(rows.values(), Counter())}).items():
        wrong = {word: count for word, count in row.items() if word not in HARMLESS}
        beside = "".join(f" ({row[word]} {word})" for word in (MISSED, NOT_NEEDED) if row[word])
        lines.append(f"{step:<12} {victim:<40} {row['kills']:>5}  {wrong or '-'}{beside}")
    return "\n".join(lines) + "\n"


def main(kills: int, names: list[str]) -> None:
    seconds = undisturbed()
    steps = [step for step in STEPS if not names or step.name in names]
    turns = {step: cycle(moments(step, seconds[step.name], random.Random(step.name))) for step in steps}
    rows: dict[tuple[str, str], Counter[str]] = {}
    for _ in range(kills):
        for step in steps:
            victim, moment = next(turns[step])
            rows.setdefault((step.name, victim), Counter()).update(count(step, victim, moment))
            (HOME / "table.txt").write_text(table(rows))
    print(table(rows), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
