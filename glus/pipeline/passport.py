"""The passport of a run: what its numbers came from, in one file that is enough to make them again.

It holds times and machines, so it is no output of DVC: `evaluate` writes it to `runs/passport.json`, `glus report` once
more when DVC has recorded the last step, and `glus ablate` beside the metrics of each variant.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from glus.config import parse_config
from glus.errors import GlusError, InputError
from glus.files import hash_file, hash_json, read_json, read_note, write_json
from glus.manifest import MANIFEST, read_manifest
from glus.paths import EVALUATION_METRICS, METRICS, MODELS, RUNS, SELECTOR, STAGED
from glus.pipeline.provenance import PICTURES, installed_packages
from glus.pipeline.sources import SOURCES
from glus.pipeline.tracking import numbers
from glus.pipeline.versions import LOCK, output_digests, recorded_stages

PASSPORT = RUNS / "passport.json"
PARAMETERS = Path("params.yaml")
CODE = (":/glus", ":/dvc.yaml")  # what a step runs; parameters and DVC's records are in the passport itself
TEXTS = (".json", ".csv")
COSTS = ("wall_s", "cpu_s", "cpu_children_s", "peak_memory_mib", "peak_memory_largest_child_mib", "host", "started")


class Code(BaseModel):
    """The code that was checked out.

    Attributes:
        commit: None outside a git checkout.
        changed: files of the pipeline that differed from the commit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")] | None
    changed: list[str]

    @property
    def dirty(self) -> bool:
        """Whether the commit alone does not say what ran."""
        return self.commit is None or bool(self.changed)


class MetricsFile(BaseModel):
    """A file below `metrics/`: its bytes, whole where it is a text, since DVC's cache has no copy of those."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    text: str | None = None

    @property
    def values(self) -> dict[str, float]:
        """The numbers of a JSON file by `key/key`; none of others."""
        try:
            content = json.loads(self.text or "")
        except ValueError:
            return {}
        return numbers(content, "")


class Passport(BaseModel):
    """What the numbers of a run came from.

    Attributes:
        parameters: text of `params.yaml`.
        lock: stages of `dvc.lock`, as far as DVC had recorded the steps: MD5 of what each read and wrote.
        lock_sha256: of the file `dvc.lock`; None where there was none.
        data: DVC's MD5 of the staged data.
        weights: DVC's MD5 of the trained models by folder, and the state of weights that were given by parameter.
        protocols: name and version of the protocol and release of the data, by split.
        metrics: files below `metrics/`.
        hardware: the machine that wrote the passport.
        cost: by step, seconds, peak memory and host; of those steps whose record is of what lies there now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_name: Literal["glus.passport"] = Field(default="glus.passport", alias="schema")
    schema_version: Literal[1] = 1
    code: Code
    dirty: bool
    seed: int
    variant: str
    parameters: str
    lock_sha256: str | None
    lock: dict[str, dict[str, Any]]
    data: str | None
    weights: dict[str, Any]
    protocols: dict[str, dict[str, Any]]
    metrics: dict[Annotated[str, Field(pattern=r"^metrics/[\w-][\w.-]*$")], MetricsFile]
    hardware: dict[str, Any]
    packages: dict[str, str]
    cost: dict[str, dict[str, Any]]

    @property
    def digest(self) -> str:
        """Names what is to be rebuilt: commit, parameters and results, whatever machine and whenever."""
        metrics = {name: file.sha256 for name, file in self.metrics.items()}
        return hash_json([self.code.commit, self.parameters, metrics])[:12]


def write_passport(project: Path, target: Path, *, unrecorded: Collection[str] = ()) -> None:
    """Writes the passport of the results that lie in a project, or in a copy of one.

    Args:
        target: the file.
        unrecorded: steps that have just run and that DVC has still to record; what `dvc.lock` says of them is older.

    Raises:
        ConfigError: the project's `params.yaml` is missing or not valid.
    """
    lock = project / LOCK
    stages = {name: stage for name, stage in recorded_stages(lock).items() if name not in unrecorded}
    outputs = output_digests(stages)
    text = _text(project / PARAMETERS)
    config = parse_config(YAML(typ="safe", pure=True).load(text), PARAMETERS)
    code = _code(project)
    passport = Passport(
        code=code,
        dirty=code.dirty,
        seed=config.seed,
        variant=config.tracking.variant,
        parameters=text,
        lock_sha256=hash_file(lock) if lock.is_file() else None,
        lock=stages,
        data=outputs.get(STAGED.as_posix()),
        weights=_weights(project, outputs),
        protocols=_protocols(project),
        metrics=metrics_files(project),
        hardware=_hardware(),
        packages=installed_packages(),
        cost=cost_of_steps(project),
    )
    write_json(passport.model_dump(mode="json", by_alias=True), target)


def read_passport(file: Path) -> Passport:
    """Reads a passport.

    Raises:
        InputError: no such file, or no passport; names the first field that is wrong.
    """
    values = read_json(file)
    try:
        return Passport.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{file} is not a passport: {'.'.join(map(str, first['loc']))}: {first['msg']}. A passport is the file"
            f" that `glus evaluate` writes to {PASSPORT}, of the version of glus that reads it."
        ) from error


def complete_passport(project: Path) -> None:
    """Adds to a project's passport what DVC has recorded since; leaves it alone where results are others by now."""
    file, stages = project / PASSPORT, recorded_stages(project / LOCK)
    if not file.is_file():
        return
    passport = read_passport(file)
    if passport.metrics != metrics_files(project) or not _describes(stages, project):
        return
    outputs = output_digests(stages)
    added = {
        "lock": stages,
        "lock_sha256": hash_file(project / LOCK),
        "data": outputs.get(STAGED.as_posix()),
        "weights": _weights(project, outputs),
        "cost": cost_of_steps(project),
    }
    write_json(passport.model_copy(update=added).model_dump(mode="json", by_alias=True), file)


def _describes(stages: Mapping[str, Mapping[str, Any]], project: Path) -> bool:
    """Whether what DVC has recorded is one run, of which the scores that lie there are the end."""
    outputs, scores = output_digests(stages), project / EVALUATION_METRICS
    read = [dep for stage in stages.values() for dep in stage.get("deps", []) if dep["path"] in outputs]
    if any(dep.get("md5") != outputs[dep["path"]] for dep in read) or not scores.is_file():
        return False
    digest = hashlib.md5(scores.read_bytes(), usedforsecurity=False).hexdigest()
    return outputs.get(EVALUATION_METRICS.as_posix()) == digest


def metrics_files(project: Path) -> dict[str, MetricsFile]:
    """The files below `metrics/`, by path below the project."""
    files = [file for file in sorted((project / METRICS).glob("*")) if file.suffix in (*TEXTS, *PICTURES)]
    return {
        file.relative_to(project).as_posix(): MetricsFile(
            sha256=hash_file(file), text=file.read_bytes().decode("utf-8") if file.suffix in TEXTS else None
        )
        for file in files
    }


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); a passport is written in a project.") from error


def _code(project: Path) -> Code:
    try:
        commit = _git(project, "rev-parse", "HEAD").strip()
        status = _git(project, "status", "--porcelain", "--no-renames", "-z", "--untracked-files=all", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return Code(commit=None, changed=[])
    return Code(commit=commit, changed=sorted(line[3:] for line in status.split("\0") if line))


def _git(project: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=project, check=True, capture_output=True, text=True).stdout


def _weights(project: Path, outputs: Mapping[str, str]) -> dict[str, Any]:
    trained = {path.as_posix(): outputs[path.as_posix()] for path in (MODELS, SELECTOR) if path.as_posix() in outputs}
    files = [project / SOURCES / f"{step}.json" for step in ("train", "selector")]
    return trained | {name: state for file in files if file.is_file() for name, state in read_json(file).items()}


def _protocols(project: Path) -> dict[str, dict[str, Any]]:
    file = project / EVALUATION_METRICS
    if not file.is_file():
        return {}
    return {
        f"{dataset}/{split}": {
            "protocol": result.get("protocol"),
            "version": result.get("protocol_version"),
            "data": result.get("dataset_version"),
        }
        for dataset, splits in read_json(file).items()
        for split, result in splits.items()
    }


def _hardware() -> dict[str, Any]:
    processors = Path("/proc/cpuinfo")
    lines = processors.read_text(encoding="utf-8").splitlines() if processors.is_file() else []
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None),
        "cpus": os.cpu_count(),
        "gpus": [card.read_text(encoding="utf-8").partition("Model:")[2].splitlines()[0].strip() for card in cards],
    }


def cost_of_steps(project: Path) -> dict[str, dict[str, Any]]:
    """By step, what its last run took, of those steps whose record is of what lies in the project now."""
    records = sorted((project / RUNS).glob("*.json"))
    found = {file.stem: read_note(file) for file in records if file.name != PASSPORT.name}
    return {
        name: {key: record[key] for key in COSTS if key in record}
        for name, record in found.items()
        if record.get("outcome") == "done" and _made(record.get("outputs", {}), project)
    }


def _made(outputs: Mapping[str, str], project: Path) -> bool:
    """Whether what a run has made is what lies there; what a copy of the project left out counts as such."""
    return all(_content(project / path) in (digest, None) for path, digest in outputs.items())


def _content(path: Path) -> str | None:
    try:
        return read_manifest(path).content_sha256 if (path / MANIFEST).is_file() else hash_file(path)
    except (OSError, GlusError):
        return None
