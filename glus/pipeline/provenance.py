"""What a run records about itself beside its artifacts: `runs/<step>.json` and the MLflow run's parameters and tags."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from glus.files import hash_file, read_note, write_json
from glus.paths import EVALUATION_METRICS, MODELS, REPORTS, RUNS, SELECTOR, STAGED
from glus.pipeline.artifacts import resolve
from glus.pipeline.run_name import run_name
from glus.pipeline.tracking import RunDescription, Tracker, execution_key, flatten, numbers, start_tracking
from glus.pipeline.versions import LOCK, digest_around, output_digests

if TYPE_CHECKING:
    from glus.config import Config
    from glus.pipeline.table import Step

PACKAGES = ("accelerate", "glus", "numpy", "pandas", "peft", "pyarrow", "sam2", "torch", "torchvision", "transformers")
EXECUTIONS = Path(".glus/executions")  # of each step that has begun and not finished
PICTURES = (".png", ".jpg", ".svg")
LARGEST_PICTURE = 1_000_000  # bytes
MOST_PICTURES = 24


@dataclass(frozen=True)
class RunClock:
    """When a run of a step began, and what it used since."""

    started: datetime = field(default_factory=lambda: datetime.now().astimezone())
    _start: float = field(default_factory=monotonic)

    def record(self, step: Step, made: Mapping[str, Any], outcome: str, mlflow_run: dict[str, str] | None) -> None:
        """Writes `runs/<step>.json`: what changes from run to run, so no artifact and no DVC output.

        Args:
            made: what decided the run, and the hashes of what it made.
        """
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        commit, dirty = git_state()
        facts = {
            "step": step.name,
            "outcome": outcome,
            **made,
            "started": self.started.isoformat(timespec="seconds"),
            "wall_s": round(monotonic() - self._start, 2),
            "cpu_s": round(own.ru_utime + own.ru_stime, 2),
            "cpu_children_s": round(children.ru_utime + children.ru_stime, 2),
            "peak_memory_mib": own.ru_maxrss // 1024,
            "peak_memory_largest_child_mib": children.ru_maxrss // 1024,
            "host": platform.node(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "packages": installed_packages(),
            "git_commit": commit,
            "git_dirty": dirty,
            "command": sys.argv,
            "mlflow": mlflow_run,
        }
        write_json(facts, RUNS / f"{step.name}.json")


def installed_packages() -> dict[str, str]:
    """Versions of the libraries that results depend on, where they are installed."""
    return dict(_installed())


def _installed() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def git_state() -> tuple[str | None, bool | None]:
    """The checked-out commit and whether files differ from it; None outside a git checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def open_tracker(config: Config, step: Step, fingerprint: str) -> Tracker:
    """Joins the MLflow run of this pipeline execution, or that of the one whose interrupted step it resumes."""
    if not config.tracking.enabled:
        return Tracker()
    note = _execution_of(step)
    before = read_note(note)
    parameters = flatten(config.model_dump(mode="json"))
    execution = execution_key()
    write_json({"fingerprint": fingerprint, "execution": execution}, note)
    digests = output_digests()
    read = {found for path in resolve(step.inputs, config) if (found := digest_around(path, digests))}
    return start_tracking(
        RunDescription(
            experiment=config.tracking.experiment,
            name=run_name(config),
            execution=execution,
            resumes=before.get("execution") if before.get("fingerprint") == fingerprint else None,
            run_id=os.environ.get("MLFLOW_RUN_ID"),
            parameters={
                key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()
            },
            tags=_tags(config, execution, digests),
            datasets=tuple({"name": path, "digest": digest, "read_by": step.name} for path, digest in sorted(read)),
        )
    )


def forget_execution(step: Step) -> None:
    """A step has finished: to run it again does not resume it."""
    _execution_of(step).unlink(missing_ok=True)


def _execution_of(step: Step) -> Path:
    return EXECUTIONS / f"{step.name}.json"


def _tags(config: Config, execution: str, digests: Mapping[str, str]) -> dict[str, str]:
    """What tells runs apart beside their parameters: code, data, everything that DVC has recorded, who started it."""
    commit, dirty = git_state()
    program, _, flow_run = execution.partition(":")
    tags = {
        "git_commit": str(commit),
        "git_dirty": str(dirty),
        "mlflow.source.git.commit": str(commit),
        "variant": config.tracking.variant,
        "seed": str(config.seed),
    }
    if LOCK.is_file():
        tags["dvc_lock_sha256"] = hash_file(LOCK)
    versions = {"data_md5": STAGED, "models_md5": MODELS, "selector_md5": SELECTOR}
    tags |= {name: digests[str(path)] for name, path in versions.items() if str(path) in digests}
    return tags | ({"prefect_flow_run": flow_run} if program == "prefect" else {})


def track_outputs(tracker: Tracker, step: Step) -> None:
    """Sends the numbers of a finished step's metrics files and the small pictures of its reports."""
    for output in map(Path, step.outputs):
        if output == EVALUATION_METRICS:
            tracker.log_metrics(score_metrics(_read(output)))
        elif output.suffix == ".json":
            tracker.log_metrics(numbers(_read(output), step.name))
        elif output.suffix in PICTURES:
            tracker.log_artifact(output, output.parent.as_posix())
        elif output == REPORTS:
            for picture in _small_pictures(output):
                tracker.log_artifact(picture, picture.parent.as_posix())


def score_metrics(scores: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of `metrics/evaluate.json` as every run calls them: `eval/<dataset>/<split>/JF`."""
    return numbers(scores, "eval")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _small_pictures(folder: Path) -> list[Path]:
    pictures = [
        path for path in sorted(folder.rglob("*")) if path.suffix in PICTURES and path.stat().st_size <= LARGEST_PICTURE
    ]
    return pictures[:MOST_PICTURES]
