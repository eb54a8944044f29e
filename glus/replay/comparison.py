"""What a replay made beside what its passport says: every metric, and the hash of every artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glus.pipeline.passport import MetricsFile, Passport, metrics_files
from glus.pipeline.provenance import installed_packages
from glus.pipeline.versions import LOCK, output_digests, recorded_stages


@dataclass(frozen=True)
class Change:
    """Something that is not as it was."""

    name: str
    was: object
    found: object

    def __str__(self) -> str:
        return f"{self.name}: was {self.was}, is {self.found}"


@dataclass(frozen=True)
class Replayed:
    """The end of a replay.

    Attributes:
        num_artifacts: compared by DVC's MD5.
        num_values: compared number by number.
        results: metrics and artifacts that differ.
        causes: code, libraries, raw data and given files that differ from those of the run.
    """

    num_artifacts: int
    num_values: int
    results: tuple[Change, ...]
    causes: tuple[Change, ...]


def compare(passport: Passport, folder: Path) -> Replayed:
    """Compares what lies in the copy of a run with its passport."""
    before, now = _of_steps(passport.lock), _of_steps(recorded_stages(folder / LOCK))
    made, made_now = output_digests(before), output_digests(now)
    artifacts = list(_different(made, made_now)) if made else []
    metrics, metrics_now = passport.metrics, metrics_files(folder)
    numbers = [found for name, file in metrics.items() for found in _metrics(name, file, metrics_now.get(name))]
    return Replayed(
        len(made),
        sum(len(file.values) for file in metrics.values()),
        (*numbers, *artifacts),
        (*_different(_read(before), _read(now)), *_different(passport.packages, installed_packages())),
    )


def _of_steps(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Without the stage that notes the state of files from outside, which holds their times."""
    return {name: stage for name, stage in stages.items() if name != "sources"}


def _read(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What steps read that none of them has made: code, and the state of raw data and given files."""
    deps = [dep for stage in stages.values() for dep in stage.get("deps", []) if "md5" in dep]
    return {_named(Path(dep["path"])): dep["md5"] for dep in deps if Path(dep["path"]).parts[0] in ("glus", "sources")}


def _named(path: Path) -> str:
    return path.as_posix() if path.parts[0] == "glus" else f"raw data or given files of {path.stem}, by size and time"


def _different(was: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Change]:
    for name, value in was.items():
        if found.get(name) != value:
            yield Change(name, value, found.get(name, "not there"))


def _metrics(name: str, was: MetricsFile, found: MetricsFile | None) -> Iterator[Change]:
    if found is None:
        yield Change(name, was.sha256, "not there")
    elif found.sha256 != was.sha256:
        keys = dict.fromkeys([*was.values, *found.values])
        values = [
            Change(f"{name}: {key}", was.values.get(key, "not there"), found.values.get(key, "not there"))
            for key in keys
            if was.values.get(key) != found.values.get(key)
        ]
        yield from values or [Change(name, was.sha256, found.sha256)]
