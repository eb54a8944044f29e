"""A parameter file with some values replaced, its comments kept."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from glus.config.loading import PRESETS, parse_config, read_parameters
from glus.errors import ConfigError, InputError


def replaced(origin: Path, changes: Mapping[str, Any], name: Path) -> str:
    """The text of a parameter file with values replaced, comments kept and everything validated.

    Args:
        changes: dotted key -> value.
        name: of the file that it is to become, which errors name.

    Raises:
        ConfigError: the result is not a valid configuration; names the key.
    """
    read_parameters(origin)  # its errors name the file
    yaml = _round_trip()
    tree = yaml.load(origin.read_text(encoding="utf-8"))
    for key, value in changes.items():
        _assign(tree, key, value)
    out = io.StringIO()
    yaml.dump(tree, out)
    parse_config(YAML(typ="safe", pure=True).load(out.getvalue()), name)
    return out.getvalue()


def preset_names() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_file(name: str) -> Path:
    """The file of a preset.

    Raises:
        InputError: there is none of that name.
    """
    if name not in preset_names():
        raise InputError(f"There is no preset {name!r}; presets: {', '.join(preset_names())}.")
    return PRESETS / f"{name}.yaml"


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _represent_null)
    return yaml


def _represent_null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _assign(tree: Any, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(tree, dict) or parent not in tree:
            raise ConfigError(f"{key} is not a known parameter ({parent!r} does not exist).")
        tree = tree[parent]
    if not isinstance(tree, dict):
        raise ConfigError(f"{key} is not a known parameter ({parents[-1]!r} holds no keys).")
    tree[last] = value
