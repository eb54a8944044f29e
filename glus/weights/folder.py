"""A model's own folder: safetensors, one JSON file, what the tokenizer and others save. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from glus.errors import InputError

WEIGHTS, CONFIG = "model.safetensors", "config.json"
TRAINED, ADAPTER = "trained.safetensors", "adapter_model.safetensors"  # instead of WEIGHTS, where there is a base


class Savable(Protocol):
    """A part that writes its own files: a tokenizer, an image processor."""

    def save_pretrained(self, directory: Path, /) -> object:
        """Writes them into a folder."""


def write_folder(
    directory: Path,
    name: str,
    version: int,
    config: Mapping[str, Any],
    parts: Iterable[Savable],
) -> None:
    """Writes all of a model but its tensors.

    Args:
        directory: is created.
        name: of the format.
        version: of the format.
        config: shapes and settings, plain data.
        parts: what writes its own files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    content = {"format": name, "format_version": version, **config}
    (directory / CONFIG).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for part in parts:
        part.save_pretrained(directory)


def write_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Writes tensors by name, for whoever may read other files: safetensors lets only the owner read."""
    file.touch()
    mode = file.stat().st_mode
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)
    file.chmod(mode)


def require_format(config: Mapping[str, Any], name: str, version: int, path: Path) -> None:
    """Checks what a `config.json` is of.

    Raises:
        InputError: another format or version.
    """
    found = config.get("format"), config.get("format_version")
    if found != (name, version):
        raise InputError(f"{path}: found format {found[0]} version {found[1]}, expected {name} version {version}.")


def require_types(layout: type[Any], values: Mapping[str, Any], origin: Path | str) -> None:
    """Checks the values of a JSON file against a dataclass or model of pydantic; other keys are not looked at.

    Raises:
        InputError: a value is missing, of another type, or outside of what the type allows; names each.
    """
    try:
        TypeAdapter(layout).validate_python(values)
    except ValidationError as error:
        raise InputError(f"{origin}: {'; '.join(map(_describe, error.errors()))}.") from error


def _describe(item: Any) -> str:
    name = ".".join(map(str, item["loc"]))
    return f"{name} is missing" if item["type"] == "missing" else f"{name} is {item['input']!r}: {item['msg']}"


def holds_adapter(directory: Path, config: Mapping[str, Any]) -> bool:
    """Whether a model's adapter is still to be merged.

    Raises:
        InputError: its config.json says another thing than its files.
    """
    adapted = bool(config.get("adapted"))
    if adapted != (directory / ADAPTER).is_file():
        found = "is not there" if adapted else "is there"
        raise InputError(
            f"{directory / CONFIG}: adapted is {adapted}, but {ADAPTER} {found}; copy the whole model again."
        )
    return adapted
