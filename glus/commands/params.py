"""`glus params`: write `params.yaml` from a preset and overrides, or check the one that is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from glus.errors import InputError

PARAMS = Path("params.yaml")


def params(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. seed=1 train.clip.steps=500")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Start from a preset instead of the present params.yaml.")] = None,
) -> None:
    """Write params.yaml from a preset and overrides; with neither, check the present one."""
    from glus.config.editing import preset_file, preset_names

    origin = preset_file(preset) if preset else PARAMS
    text = edited(origin, overrides or [])
    if preset or overrides:
        _write(text)
        typer.echo(f"{PARAMS} written from {origin}" + (f", with {' '.join(overrides)}" if overrides else ""))
    else:
        typer.echo(f"{PARAMS} is valid; presets: {', '.join(preset_names())}")


def edited(origin: Path, overrides: list[str]) -> str:
    """The text of a parameter file with values replaced, comments kept and everything validated.

    Args:
        overrides: `key=value` with dotted keys and YAML values.

    Raises:
        ConfigError: the result is not a valid configuration; names the key.
    """
    from glus.config.editing import replaced

    return replaced(origin, dict(map(_split, overrides)), PARAMS)


def _split(override: str) -> tuple[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override!r} is not of the form key=value, e.g. train.clip.steps=500.")
    try:
        return key, YAML().load(value)
    except YAMLError as error:
        raise InputError(f"{key}: {value!r} is not a YAML value ({' '.join(str(error).split())}).") from error


def _write(text: str) -> None:
    aside = PARAMS.with_name(f".{PARAMS.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(PARAMS)
