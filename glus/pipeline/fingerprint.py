"""What decides a step: finished pieces of an interrupted run are gone on from only where all of it is as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from glus.files import hash_file, hash_json
from glus.pipeline.sources import derived_state, outside_state
from glus.pipeline.table import Step

if TYPE_CHECKING:
    from glus.config import Config

PROJECT = Path(__file__).resolve().parents[2]


def fingerprint(step: Step, config: Config, inputs: Mapping[str, str]) -> str:
    """Hash of a step's parameters, inputs, given files and code.

    The raw data of `stage` is not in it: what was looked at there is kept file by file.

    Raises:
        InputError: a file that a parameter names is not there.
    """
    outside = {} if step.name == "stage" else outside_state(step, config)
    decides = {
        "parameters": config.parameters(step.parameters),
        "inputs": dict(inputs),
        "outside": outside,
        "derived": derived_state(step, config),
        "code": code_hash(step.name),
    }
    return hash_json(decides)[:16]


def code_hash(name: str) -> str:
    """Hash of the code that `dvc.yaml` lists for a step; where the code is installed without it, the version."""
    stages = PROJECT / "dvc.yaml"
    if not stages.is_file():
        return version("glus")
    deps = YAML(typ="safe", pure=True).load(stages.read_text(encoding="utf-8"))["stages"][name]["deps"]
    code = [PROJECT / dep for dep in deps if dep.startswith("glus/")]
    return hash_json({file.relative_to(PROJECT).as_posix(): hash_file(file) for file in _sources(code)})


def _sources(places: Iterable[Path]) -> list[Path]:
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return sorted(file for file in files if file.suffix in (".py", ".yaml"))
