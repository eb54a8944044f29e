"""The preset `glus_s` as printed, at its real size, on real footage, without a GPU: all seven steps by `dvc repro`.

Weights are random, in the published formats and sizes (31 GB), written once. Only steps, batches, splits, the device
and the stride of windows differ from the preset. A run that was stopped goes on. At the end: what each step took, and
whether its artifacts open. Some hours on two cores, 60 GB of disk, 24 GiB of memory:

    python -m experiments.full_size FOLDER ../shared/realclips
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from experiments.full_size_clips import write_clips
from glus.commands.params import edited
from glus.execution.ties import tied
from glus.manifest import MANIFEST, read_manifest, verify_files
from glus.pipeline.table import STEPS

ROOT = Path(__file__).resolve().parents[1]
PRESET = ROOT / "glus" / "presets" / "glus_s.yaml"
EARLY, STEPS_OF_TRAINING = 1, 2
OVERRIDES = (
    "stage.splits=[mevis/train, mevis/valid_u, refer_youtube_vos/train, refer_youtube_vos/valid]",
    "data.evaluation=[mevis/valid_u, refer_youtube_vos/valid]",
    f"train.clip.steps={STEPS_OF_TRAINING}",
    "train.clip.samples=1",
    "train.clip.accumulation=1",
    "train.clip.optimiser.warmup_steps=1",
    f"train.early_stop_step={EARLY}",
    "train.checkpoint_every=1",
    "train.log_every=1",
    f"pseudolabel.checkpoint=models/glus/step-{EARLY:06d}",
    "pseudolabel.window_stride=4",
    f"selector.steps={STEPS_OF_TRAINING}",
    "selector.samples=1",
    "selector.accumulation=1",
    "selector.optimiser.warmup_steps=1",
    "selector.checkpoint_every=1",
    "selector.log_every=1",
    "propagate.window_stride=4",
    "compute.device=cpu",
    "compute.threads=2",
    "compute.workers=1",
)
SECONDS_BETWEEN_LOOKS = 5.0
GIB, MB = 2**30, 1e6


@dataclass
class Attempt:
    """What one start of a step took.

    Attributes:
        step: its name.
        wall_s: seconds from the first look to the last.
        cpu_s: seconds of all its processes.
        peak_bytes: most memory at once, pages that processes share counted once.
        written_bytes: to disk.
        finished: whether it ended well.
    """

    step: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    written_bytes: int = 0
    finished: bool = False


def main(folder: Path, clips: Path) -> None:
    subprocess.run([sys.executable, "-m", "experiments.full_size_weights", str(folder / "weights")], check=True)
    project = folder / "project"
    prepare(project, folder / "weights", clips)
    attempts = folder / "attempts.json"
    code = follow(project, attempts)
    print(table(project, [Attempt(**entry) for entry in json.loads(attempts.read_text())]))
    if code:
        sys.exit(f"dvc repro ended with {code}; start again to go on.")
    print(open_artifacts(project))


def prepare(project: Path, weights: Path, clips: Path) -> None:
    """A project of its own with the present code, the weights, the clips and the preset."""
    project.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(project / "glus", ignore_errors=True)
    shutil.copytree(ROOT / "glus", project / "glus", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore"):
        shutil.copy2(ROOT / name, project)
    if not (project / ".dvc").exists():
        for command in (["init", "--no-scm", "--quiet"], ["config", "core.analytics", "false"]):
            subprocess.run([sys.executable, "-m", "dvc", *command], cwd=project, check=True)
    if not (project / "weights").exists():
        (project / "weights").symlink_to(weights.resolve())
    write_clips(clips, project / "data" / "raw")
    (project / "params.yaml").write_text(edited(PRESET, list(OVERRIDES)), encoding="utf-8")


def follow(project: Path, file: Path) -> int:
    """Runs `dvc repro` and notes what each step takes; returns its exit code."""
    attempts = [Attempt(**entry) for entry in json.loads(file.read_text())] if file.exists() else []
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
    dvc = subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=project, env=environment, preexec_fn=tied())
    current: Watch | None = None
    while True:
        ended = dvc.poll() is not None
        step = None if ended else running_step(dvc.pid)
        if current and (step is None or step.pid != current.step.pid):
            current.attempt.finished = is_done(project, current.attempt.step)
            current = None
        if step and current is None:
            current = Watch(step)
            attempts = [*attempts_before(attempts, current.attempt.step), current.attempt]
        if current:
            current.look()
        file.write_text(json.dumps([asdict(attempt) for attempt in attempts], indent=1))
        if ended:
            return dvc.returncode
        time.sleep(SECONDS_BETWEEN_LOOKS)


def attempts_before(attempts: list[Attempt], step: str) -> list[Attempt]:
    """Without those of a step that had ended well: it is done anew."""
    done = any(attempt.finished for attempt in attempts if attempt.step == step)
    return [attempt for attempt in attempts if not done or attempt.step != step]


def running_step(dvc: int) -> psutil.Process | None:
    names = {step.name for step in STEPS}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(dvc).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                words = process.cmdline()
                if words[1:3] == ["-m", "glus"] and words[3] in names:
                    return process
    return None


class Watch:
    """Looks at a step and all that it has started."""

    def __init__(self, step: psutil.Process) -> None:
        self.step = step
        self.attempt = Attempt(step.cmdline()[3])
        self._begin = time.monotonic()
        self._cpu: dict[int, float] = {}
        self._written: dict[int, int] = {}

    def look(self) -> None:
        memory = 0
        with suppress(psutil.NoSuchProcess):
            for process in (self.step, *self.step.children(recursive=True)):
                with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                    times = process.cpu_times()
                    self._cpu[process.pid] = times.user + times.system
                    self._written[process.pid] = process.io_counters().write_bytes
                    memory += share_of_memory(process.pid)
        attempt = self.attempt
        attempt.wall_s = time.monotonic() - self._begin
        attempt.cpu_s, attempt.written_bytes = sum(self._cpu.values()), sum(self._written.values())
        attempt.peak_bytes = max(attempt.peak_bytes, memory)


def share_of_memory(pid: int) -> int:
    """Resident and swapped memory of a process, pages that others share counted in part, bytes."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    return sum(int(fields[name].split()[0]) for name in ("Pss", "SwapPss")) * 1024


def is_done(project: Path, step: str) -> bool:
    record = project / "runs" / f"{step}.json"
    return record.exists() and json.loads(record.read_text())["outcome"] == "done"


def table(project: Path, attempts: list[Attempt]) -> str:
    """A row for each step; of a step that was interrupted, what its starts took together."""
    lines = ["| step | starts | wall, s | CPU, s | peak, GiB | written, MB | artifacts, MB |", "|---|" + "---:|" * 6]
    for step in STEPS:
        own = [attempt for attempt in attempts if attempt.step == step.name]
        cells = (
            len(own),
            sum(attempt.wall_s for attempt in own),
            sum(attempt.cpu_s for attempt in own),
            max((attempt.peak_bytes for attempt in own), default=0) / GIB,
            sum(attempt.written_bytes for attempt in own) / MB,
            sum(size_of(project / path) for path in step.outputs) / MB,
        )
        lines.append("| {} | {} | {:.0f} | {:.0f} | {:.1f} | {:.1f} | {:.2f} |".format(step.name, *cells))
    return "\n".join(lines)


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def open_artifacts(project: Path) -> str:
    """Every artifact is whole, and what its tables and files hold."""
    import pyarrow.parquet

    lines = []
    for manifest in sorted(project.glob("*/**/" + MANIFEST)):
        if ".glus" in manifest.parts or ".dvc" in manifest.parts:
            continue
        artifact = manifest.parent
        facts: dict[str, Any] = {}
        with_files = read_manifest(artifact)
        verify_files(artifact, with_files)
        for table_file in sorted(artifact.rglob("*.parquet")):
            facts[table_file.relative_to(artifact).as_posix()] = pyarrow.parquet.read_metadata(table_file).num_rows
        rows = ", ".join(f"{name}: {count} rows" for name, count in facts.items())
        lines.append(f"{artifact.relative_to(project)}: {len(with_files.files)} files as listed. {rows}")
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
