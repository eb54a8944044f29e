"""Whether a step's result lies there complete, made by what decides the step now: then DVC may record it as it is.

A `dvc` that is killed after its step has ended, while it hashes and copies, has recorded nothing, and would delete the
result and compute it again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from glus.errors import GlusError
from glus.files import hash_file, hash_json, read_json
from glus.manifest import MANIFEST, read_manifest, verify_files
from glus.paths import RUNS
from glus.pipeline.artifacts import resolve
from glus.pipeline.sources import SOURCES
from glus.pipeline.table import Step

if TYPE_CHECKING:
    from glus.config import Config


def identity(step: Step, fingerprint: str) -> str:
    """Names what a step computes now: two runs of one identity make the same.

    The fingerprint, and the state of raw data, which the fingerprint of `stage` leaves out.
    """
    sources = SOURCES / f"{step.name}.json"
    return hash_json([fingerprint, hash_file(sources) if sources.is_file() else None])[:16]


def result_state(step: Step, config: Config) -> dict[str, str]:
    """Hash of all that lies below a step's outputs, by path: artifacts by their manifest, other files by bytes."""
    found: dict[str, str] = {}
    for output in map(Path, resolve(step.outputs, config)):
        manifests = {folder: read_manifest(folder) for folder in _artifacts(output)}
        listed = {folder / name for folder, manifest in manifests.items() for name in [*manifest.files, MANIFEST]}
        found |= {folder.as_posix(): manifest.content_sha256 for folder, manifest in manifests.items()}
        found |= {file.as_posix(): hash_file(file) for file in _files(output) if file not in listed}
    return found


def is_finished(step: Step, config: Config, named: str) -> bool:
    """Whether the record of the last run says `done` for this identity, and all that it made is there unchanged."""
    try:
        record: dict[str, Any] = read_json(RUNS / f"{step.name}.json")
        if record.get("outcome") != "done" or record.get("identity") != named:
            return False
        for folder in (folder for output in resolve(step.outputs, config) for folder in _artifacts(Path(output))):
            verify_files(folder, read_manifest(folder))
        return bool(record["outputs"] == result_state(step, config))
    except (GlusError, FileNotFoundError, KeyError):
        return False


def _artifacts(output: Path) -> list[Path]:
    return sorted(path.parent for path in output.rglob(MANIFEST)) if output.is_dir() else []


def _files(output: Path) -> list[Path]:
    found = output.rglob("*") if output.is_dir() else [output]
    return sorted(path for path in found if not path.is_dir())
