"""The readers by the name of their dataset."""

from __future__ import annotations

from glus.errors import InputError
from glus.staging import mevis
from glus.staging.layout import Reader

READERS: dict[str, Reader] = {
    "mevis": mevis,
    "synthetic": mevis,
}


def reader(dataset: str) -> Reader:
    """The reader of a dataset.

    Raises:
        InputError: there is no dataset of that name.
    """
    if dataset not in READERS:
        raise InputError(f"{dataset!r} is not a dataset that can be read; there are {', '.join(sorted(READERS))}.")
    return READERS[dataset]
