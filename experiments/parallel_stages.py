"""Many processes of dvc in one project at once: is each stage that has run recorded?

`python -m experiments.parallel_stages STAGES ROUNDS`: a matrix of stages that cost nothing, each started by a command
of its own at the same moment, as the tasks of a flow start them (`dvc --wait-for-lock repro -s`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

from flows.stages import DVC
from glus.execution.ties import tied

HOME = Path(".glus/parallel").resolve()


def write_project(stages: int) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    stage = {
        "matrix": {"number": list(range(stages))},
        "cmd": "echo ${item.number} $(cat seed) > ${item.number}.txt && echo ${item.number} >> ran",
        "deps": ["seed"],
        "outs": ["${item.number}.txt"],
    }
    with (HOME / "dvc.yaml").open("w") as file:
        YAML(typ="safe").dump({"stages": {"part": stage}}, file)
    for arguments in (["init", "--no-scm", "-q"], ["config", "core.analytics", "false"]):
        subprocess.run([*DVC[:3], *arguments], cwd=HOME, check=True)


def recorded(seed: int, stages: int) -> int:
    """Stages whose output is there, holds this seed, and is up to date for DVC."""
    status = subprocess.run([*DVC, "status", "-q"], cwd=HOME).returncode
    right = [(HOME / f"{number}.txt").read_text() == f"{number} {seed}\n" for number in range(stages)]
    return sum(right) if status == 0 else 0


def main(stages: int, rounds: int) -> None:
    write_project(stages)
    good = ran = 0
    begin = time.monotonic()
    for seed in range(rounds):
        (HOME / "seed").write_text(str(seed))
        (HOME / "ran").unlink(missing_ok=True)
        running = [
            subprocess.Popen(
                [*DVC, "repro", "-q", "-s", f"part@{number}"], cwd=HOME, stderr=subprocess.DEVNULL, preexec_fn=tied()
            )
            for number in range(stages)
        ]
        failed = sum(command.wait() != 0 for command in running)
        good, ran = good + recorded(seed, stages), ran + len((HOME / "ran").read_text().splitlines())
        print(
            f"round {seed}: {failed} commands failed; {good} of {(seed + 1) * stages} recorded, {ran} run", flush=True
        )
    print(f"{(time.monotonic() - begin) / rounds / stages:.1f} s for each stage")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
