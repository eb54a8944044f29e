"""`glus params`: write `params.yaml` from a preset and overrides, or check the one that is there."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from glus.errors import ConfigError, InputError

PARAMS = Path("params.yaml")


def params(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. seed=1 train.clip.steps=500")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Start from a preset instead of the present params.yaml.")] = None,
) -> None:
    """Write params.yaml from a preset and overrides; with neither, check the present one."""
    origin = preset_file(preset) if preset else PARAMS
    text = edited(origin, overrides or [])
    if preset or overrides:
        _write(text)
        typer.echo(f"{PARAMS} written from {origin}" + (f", with {' '.join(overrides)}" if overrides else ""))
    else:
        typer.echo(f"{PARAMS} is valid; presets: {', '.join(_presets())}")


def edited(origin: Path, overrides: list[str]) -> str:
    """The text of a parameter file with values replaced, comments kept and everything validated.

    Args:
        overrides: `key=value` with dotted keys and YAML values.

    Raises:
        ConfigError: the result is not a valid configuration; names the key.
    """
    from glus.config import parse_config, read_parameters

    read_parameters(origin)  # its errors name the file
    yaml = _round_trip()
    tree = yaml.load(origin.read_text(encoding="utf-8"))
    for override in overrides:
        key, value = _split(override)
        _assign(tree, key, value)
    out = io.StringIO()
    yaml.dump(tree, out)
    parse_config(YAML(typ="safe", pure=True).load(out.getvalue()), PARAMS)
    return out.getvalue()


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), _represent_null)
    return yaml


def _represent_null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _split(override: str) -> tuple[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override!r} is not of the form key=value, e.g. train.clip.steps=500.")
    try:
        return key, YAML().load(value)
    except YAMLError as error:
        raise InputError(f"{key}: {value!r} is not a YAML value ({' '.join(str(error).split())}).") from error


def _assign(tree: Any, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(tree, dict) or parent not in tree:
            raise ConfigError(f"{key} is not a known parameter ({parent!r} does not exist).")
        tree = tree[parent]
    if not isinstance(tree, dict):
        raise ConfigError(f"{key} is not a known parameter ({parents[-1]!r} holds no keys).")
    tree[last] = value


def _presets() -> list[str]:
    from glus.config import PRESETS

    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_file(name: str) -> Path:
    """The file of a preset.

    Raises:
        InputError: there is none of that name.
    """
    from glus.config import PRESETS

    if name not in _presets():
        raise InputError(f"There is no preset {name!r}; presets: {', '.join(_presets())}.")
    return PRESETS / f"{name}.yaml"


def _write(text: str) -> None:
    aside = PARAMS.with_name(f".{PARAMS.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(PARAMS)
