"""What a step reads: artifacts that are complete and made from the present parameters, or an error that says why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glus.errors import ArtifactError
from glus.files import hash_file, read_json
from glus.manifest import MANIFEST, Manifest, read_manifest, require_artifact, verify_files
from glus.paths import EVALUATION_SPLITS, SELECTOR, STAGED, TRAINING_SPLITS
from glus.pipeline.table import EARLY_STOP_MODEL, STEPS, Step
from glus.pipeline.unneeded import WHY, is_empty, is_needed
from glus.records.frame_check import require_staged_frames
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
        excluded = config.stage.exclude.get(name)
        return config.parameters(["stage.synthetic"]) | ({"exclude": excluded} if excluded else {})
    return {"root": config.stage.root(dataset).as_posix(), "exclude": config.stage.exclude.get(name, [])}


def input_hashes(step: Step, config: Config) -> dict[str, str]:
    """Content hash of each artifact that a step reads, by path.

    Raises:
        ArtifactError: one is missing, incomplete, made under other parameters or from other inputs than lie there now.
    """
    found = {path: _check(path, config) for path in resolve(needed_inputs(step, config), config)}
    if step.devices:  # its model sees the frames
        for listed in (TRAINING_SPLITS, EVALUATION_SPLITS):
            for name in config.data.splits[listed.stem] if str(listed) in found else ():
                _check_frames(name)
    return found


def needed_inputs(step: Step, config: Config) -> tuple[str, ...]:
    """The artifacts that a step reads under the present parameters: key frames may need no model at all."""
    if not is_needed(step, config):
        return ()
    if step.name != "keyframes":
        return step.inputs
    sources = {config.keyframes.source, *config.keyframes.comparisons}
    untuned_is_given = config.selector.model.base is not None
    unused = set()
    if "selector" not in sources:
        unused.add(str(SELECTOR))
    if "oracle_frame" not in sources and ("chat_univi" not in sources or untuned_is_given):
        unused.add(EARLY_STOP_MODEL)
    return tuple(path for path in step.inputs if path not in unused)


def resolve(paths: Iterable[str], config: Config) -> list[str]:
    """Fills references to parameters (`${pseudolabel.checkpoint}`) in paths of artifacts, as DVC does."""
    return [re.sub(r"\$\{([a-z_.]+)\}", lambda match: _value(config, match[1]), path) for path in paths]


def _value(config: Config, key: str) -> str:
    return str(config.parameters([key])[key])


def content_hash(path: Path) -> str:
    """Hash of an artifact's content: of its manifest's files and facts, or of a single file's bytes."""
    return read_manifest(path).content_sha256 if path.is_dir() else hash_file(path)


def changed_inputs(manifest: Manifest) -> list[str]:
    """What an artifact was made from and is not there any more, or with another content."""
    return [
        source
        for source, made_from in manifest.inputs.items()
        if not Path(source).exists() or content_hash(Path(source)) != made_from
    ]


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
    if is_empty(manifest):
        raise ArtifactError(
            f"{path} holds nothing: when `glus {made_by.name}` ran, {WHY}; now one does. Run `glus {made_by.name}` (or"
            f" `dvc repro {made_by.name}`) again."
        )
    verify_files(path, manifest)
    _check_listed_around(path, made_by, config)
    if changed := changed_inputs(manifest):
        raise ArtifactError(
            f"{path} was made from another {changed[0]} than the one that is there now. Run `glus {made_by.name}`"
            f" (or `dvc repro {made_by.name}`) first."
        )
    return manifest.content_sha256


def _check_listed_around(path: Path, made_by: Step, config: Config) -> None:
    """Checks that a model in a folder of models is the one that was made there, and no other one in its place."""
    for output in map(Path, resolve(made_by.outputs, config)):
        if path != output and path.is_relative_to(output) and (output / MANIFEST).is_file():
            inner = path / MANIFEST
            if read_manifest(output).files.get(inner.relative_to(output).as_posix()) != hash_file(inner):
                raise ArtifactError(
                    f"{path} is not the one that {output / MANIFEST} lists. Put it back, or run `glus {made_by.name}`"
                    f" (or `dvc repro {made_by.name}`) again."
                )


def _check_frames(name: str) -> None:
    """Checks frames that lie outside of the staged split; those inside are listed in its manifest."""
    extra = read_manifest(STAGED / name).extra
    root = Path(extra["frames_root"])
    if "frames_sha256" in extra and not root.is_relative_to(STAGED):
        require_staged_frames(StagedSplit(STAGED / name, root), extra["frames_sha256"])


def _check_staged_list(path: Path, config: Config) -> str:
    """Checks `data/staged/train.json` or `evaluation.json` against the configuration and the splits it names."""
    wanted = config.data.splits[path.stem]
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; run `glus stage` (or `dvc repro stage`) first.")
    listed = read_json(path).get("splits")
    if not isinstance(listed, dict):
        raise ArtifactError(f"{path} lists no splits. Run `glus stage` (or `dvc repro stage`) again.")
    if sorted(listed) != wanted:
        raise ArtifactError(
            f"{path} lists {', '.join(sorted(listed))}, but data.{path.stem} is {', '.join(wanted)}."
            " Run `glus stage` (or `dvc repro stage`) first."
        )
    for name, expected in listed.items():
        manifest = require_artifact(STAGED / name, "stage", split_parameters(config, name))
        verify_files(STAGED / name, manifest)
        if manifest.content_sha256 != expected:
            raise ArtifactError(f"{STAGED / name} is not the split that {path} lists. Run `glus stage` first.")
    return hash_file(path)
