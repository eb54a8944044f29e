"""The readers by the name of their dataset."""

from __future__ import annotations

from glus.errors import InputError
from glus.staging.raw import Published, Reader
from glus.staging.readers import generated, lvvis, mevis, own, reasonvos, ref_davis17, refer_youtube_vos, revos

READERS: dict[str, Reader] = {
    "mevis": mevis,
    "refer_youtube_vos": refer_youtube_vos,
    "ref_davis17": ref_davis17,
    "revos": revos,
    "lvvis": lvvis,
    "reasonvos": reasonvos,
    "synthetic": generated,
    "own": own,
}


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
