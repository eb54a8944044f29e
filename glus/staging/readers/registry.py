"""The readers by the name of their dataset: a module of this folder for each of `glus.config.DATASETS`."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from glus.config import DATASETS
from glus.errors import InputError
from glus.staging.raw import Published, Reader

READERS = {name: cast(Reader, import_module(f"glus.staging.readers.{name}")) for name in DATASETS}


def reader(dataset: str) -> Reader:
    """The reader of a dataset.

    Raises:
        InputError: there is no dataset of that name.
    """
    if dataset not in READERS:
        raise InputError(f"{dataset!r} is not a dataset that can be read; there are {', '.join(sorted(READERS))}.")
    return READERS[dataset]


def published(dataset: str, split: str, release: str) -> Published | None:
    """What a dataset's owners publish about a split of a release, where that is known."""
    known = reader(dataset).PUBLISHED
    return known.get(f"{split} {release}", known.get(split))
