"""What a step reads: artifacts that are complete and made from the present parameters, or an error that says why."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glus.errors import ArtifactError
from glus.files import hash_file
from glus.manifest import MANIFEST, Manifest, read_manifest, require_artifact
from glus.paths import EVALUATION_SPLITS, STAGED
from glus.pipeline.table import STEPS, Step
from glus.records.split import StagedSplit

if TYPE_CHECKING:
    from glus.config import Config


def open_split(config: Config, name: str) -> StagedSplit:
    """Opens a staged split, e.g. `synthetic/test`.

    Raises:
        ArtifactError: it is missing, incomplete or was staged under other parameters.
    """
    manifest = require_artifact(STAGED / name, "stage", split_parameters(config, name))
    return StagedSplit(STAGED / name, Path(manifest.extra["frames_root"]))


def split_parameters(config: Config, name: str) -> dict[str, Any]:
    """The parameters that decide one staged split, and nothing else, so that splits do not outdate each other."""
    dataset = name.split("/")[0]
    if dataset == "synthetic":
        return config.parameters(["stage.synthetic"])
    return {"root": config.stage.root(dataset).as_posix(), "exclude": config.stage.exclude.get(name, [])}


def input_hashes(step: Step, config: Config) -> dict[str, str]:
    """Content hash of each artifact that a step reads, by path.

    Raises:
        ArtifactError: one is missing, incomplete, made under other parameters or from other inputs than lie there now.
    """
    return {path: _check(path, config) for path in resolve(step.inputs, config)}


def resolve(paths: Iterable[str], config: Config) -> list[str]:
    """Fills references to parameters (`${pseudolabel.checkpoint}`) in paths of artifacts, as DVC does."""
    return [re.sub(r"\$\{([a-z_.]+)\}", lambda match: _value(config, match[1]), path) for path in paths]


def _value(config: Config, key: str) -> str:
    return str(config.parameters([key])[key])


def content_hash(path: Path) -> str:
    """Hash of an artifact's content: of its manifest's files and facts, or of a single file's bytes."""
    return read_manifest(path).content_sha256 if path.is_dir() else hash_file(path)


def producer(path: str, config: Config) -> Step:
    """The step that writes an artifact, or the folder around it."""
    for step in STEPS:
        for output in resolve(step.outputs, config):
            if Path(path).is_relative_to(output):
                return step
    raise ValueError(f"no step writes {path}")


def _check(name: str, config: Config) -> str:
    path, made_by = Path(name), producer(name, config)
    if path.suffix == ".json":
        return _check_staged_list(path, config)
    manifest = require_artifact(path, made_by.name, config.parameters(made_by.parameters))
    _check_files(path, manifest)
    for source, found in manifest.inputs.items():
        if not Path(source).exists() or content_hash(Path(source)) != found:
            raise ArtifactError(
                f"{path} was made from another {source} than the one that is there now. Run `glus {made_by.name}`"
                f" (or `dvc repro {made_by.name}`) first."
            )
    return manifest.content_sha256


def _check_files(path: Path, manifest: Manifest) -> None:
    for file in manifest.files:
        if not (path / file).is_file():
            raise ArtifactError(
                f"{path} is incomplete: {file}, listed in its {MANIFEST}, is missing. Run `glus {manifest.step}` again."
            )


def _check_staged_list(path: Path, config: Config) -> str:
    """Checks `data/staged/train.json` or `evaluation.json` against the configuration and the splits it names."""
    data = config.data
    wanted = data.evaluation if path == EVALUATION_SPLITS else [entry.split for entry in data.train]
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; run `glus stage` (or `dvc repro stage`) first.")
    listed = json.loads(path.read_text(encoding="utf-8"))["splits"]
    if sorted(listed) != sorted(set(wanted)):
        raise ArtifactError(
            f"{path} lists {', '.join(sorted(listed))}, but data.{path.stem} is {', '.join(sorted(set(wanted)))}."
            " Run `glus stage` (or `dvc repro stage`) first."
        )
    for name, expected in listed.items():
        manifest = require_artifact(STAGED / name, "stage", split_parameters(config, name))
        _check_files(STAGED / name, manifest)
        if manifest.content_sha256 != expected:
            raise ArtifactError(f"{STAGED / name} is not the split that {path} lists. Run `glus stage` first.")
    return hash_file(path)
