"""Atomic artifacts: written aside, hashed, renamed; the manifest comes last, so an artifact is complete or absent.

A manifest holds nothing that changes when the same work is done again: an equal result has an equal hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glus.errors import ArtifactError, name_some
from glus.files import HashCache, hash_json, write_json

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What made an artifact, and what is in it.

    Attributes:
        step: the step that wrote it.
        parameters: the keys of `params.yaml` that decided it.
        inputs: content hash of each artifact that was read.
        files: SHA-256 of each file, by path relative to the artifact.
        extra: facts that readers of this kind of artifact need (`frames_root`, `checkpoint_step` ...).
    """

    step: str
    parameters: dict[str, Any]
    inputs: dict[str, str]
    files: dict[str, str]
    extra: dict[str, Any]

    @property
    def content_sha256(self) -> str:
        """Hash of the content alone: equal files and facts, whatever made them."""
        return hash_json({"files": self.files, "extra": self.extra})

    def to_json(self) -> dict[str, Any]:
        """The manifest as it stands in `manifest.json`."""
        return {
            "schema": "glus.manifest",
            "schema_version": SCHEMA_VERSION,
            "step": self.step,
            "content_sha256": self.content_sha256,
            "parameters": self.parameters,
            "inputs": self.inputs,
            "extra": self.extra,
            "files": self.files,
        }


def write_manifest(
    directory: Path,
    *,
    step: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str],
    extra: Mapping[str, Any] | None = None,
    without: str | None = None,
) -> Manifest:
    """Hashes every file below `directory` and writes its `manifest.json`; call when everything else is written.

    Args:
        without: a folder of working files in it, which is no part of the artifact and about to be removed.
    """
    cache = HashCache()
    files = {
        path.relative_to(directory).as_posix(): cache.hash(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != directory / MANIFEST and path.relative_to(directory).parts[0] != without
    }
    cache.save()
    manifest = Manifest(step, dict(parameters), dict(inputs), files, dict(extra or {}))
    write_json(manifest.to_json(), directory / MANIFEST)
    return manifest


def read_manifest(directory: Path) -> Manifest:
    """Reads the manifest of an artifact.

    Raises:
        ArtifactError: the artifact is missing or incomplete, or its manifest is unreadable.
    """
    path = directory / MANIFEST
    if not directory.is_dir():
        raise ArtifactError(f"{directory} does not exist; run the step that writes it, or `dvc repro`.")
    if not path.is_file():
        raise ArtifactError(f"{directory} has no {MANIFEST}, so it is incomplete; remove it and run its step again.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["schema_version"]
        manifest = Manifest(data["step"], data["parameters"], data["inputs"], dict(data["files"]), data["extra"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is not a manifest of this project ({error!r}); run its step again.") from error
    if version != SCHEMA_VERSION:
        raise ArtifactError(f"{path} has schema version {version}, expected {SCHEMA_VERSION}; run its step again.")
    return manifest


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Checks that an artifact holds what its manifest lists, byte for byte; unchanged files are not read again.

    Raises:
        ArtifactError: a file that is missing, changed, or a table that is not listed; names it.
    """
    cache = HashCache()
    again = f"Put it back, or run `glus {manifest.step}` (or `dvc repro {manifest.step}`) again."
    for name, expected in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise ArtifactError(f"{directory} is incomplete: {name}, listed in its {MANIFEST}, is missing. {again}")
        if (found := cache.hash(path)) != expected:
            raise ArtifactError(
                f"{path} is not the file that `glus {manifest.step}` wrote: its SHA-256 is {found[:12]}, {MANIFEST}"
                f" says {expected[:12]}. {again}"
            )
    cache.save()
    tables = {path.relative_to(directory).as_posix() for path in directory.rglob("*.parquet")}
    if foreign := sorted(name for name in tables - manifest.files.keys() if not Path(name).name.startswith(".")):
        raise ArtifactError(
            f"{directory} holds tables that its {MANIFEST} does not list: {name_some(foreign)}. Remove them, or run"
            f" `glus {manifest.step}` again."
        )


def verify_where_listed(directory: Path) -> None:
    """As `verify_files`, for a folder that may be somebody else's: one without a manifest is taken as it is.

    Raises:
        ArtifactError: see there.
    """
    if (directory / MANIFEST).is_file():
        verify_files(directory, read_manifest(directory))


def require_artifact(directory: Path, step: str, parameters: Mapping[str, Any]) -> Manifest:
    """Reads the manifest of an input and checks that it was made by `step` under the present parameters.

    Raises:
        ArtifactError: missing, incomplete, or made under other parameters (names the first that differs).
    """
    manifest = read_manifest(directory)
    difference = first_difference(manifest.parameters, dict(parameters))
    if manifest.step != step or difference:
        why = f"{difference} in params.yaml" if difference else f"made by step {manifest.step}"
        raise ArtifactError(
            f"{directory} was made under other parameters: {why}. Run `glus {step}` (or `dvc repro {step}`) first."
        )
    return manifest


def first_difference(made: Any, present: Any, key: str = "") -> str | None:
    """Describes the first place where two trees of plain data differ, or None."""
    if isinstance(made, dict) and isinstance(present, dict):
        for name in sorted(made.keys() | present.keys()):
            inner = first_difference(made.get(name), present.get(name), f"{key}.{name}" if key else name)
            if inner:
                return inner
        return None
    return None if made == present else f"{key} was {made!r}, is {present!r}"
