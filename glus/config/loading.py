"""`params.yaml` read strictly: an error names every key that is unknown, missing, mistyped or contradictory."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from glus.config.contradictions import find_contradictions
from glus.config.root import Config
from glus.errors import ConfigError

RENAMED = {"train.image.recall": "train.image.word_prediction"}  # parameter that was -> that is

PRESETS = Path(str(files("glus"))) / "presets"


def load_config(path: Path = Path("params.yaml")) -> Config:
    """Loads and validates a parameter file.

    Raises:
        ConfigError: no such file, not YAML, or a key that is unknown, missing, mistyped or contradictory.
    """
    return parse_config(read_parameters(path), path)


def read_parameters(path: Path) -> Any:
    """Reads a parameter file as plain data (YAML 1.2, as DVC reads it).

    Raises:
        ConfigError: no such file, or not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path} does not exist; run from the project's root, or write it with `glus params`."
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def parse_config(values: Any, origin: Path) -> Config:
    """Validates plain data as a configuration; `origin` is the file that errors name.

    Raises:
        ConfigError: naming every key that is unknown, missing, mistyped or contradictory.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin} holds no parameters (found {type(values).__name__}, expected a mapping).")
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: " + "; ".join(_describe(item) for item in error.errors())) from error
    if contradictions := find_contradictions(config):
        raise ConfigError(f"{origin}: " + "; ".join(contradictions))
    return config


def _describe(item: Any) -> str:
    key = ".".join(str(part) for part in item["loc"])
    if key in RENAMED:
        return f"{key} is now called {RENAMED[key]}"
    if item["type"] == "extra_forbidden":
        return f"{key} is not a known parameter"
    if item["type"] == "missing":
        return f"{key} is missing"
    message = item["msg"].removeprefix("Value error, ")
    return f"{key} = {item['input']!r}: {message}" if key else message
