"""The readers by the name of their dataset."""

from __future__ import annotations

from glus.errors import InputError
from glus.staging import lvvis, mevis, own, reasonvos, ref_davis17, refer_youtube_vos, revos
from glus.staging.raw import Reader

READERS: dict[str, Reader] = {
    "mevis": mevis,
    "refer_youtube_vos": refer_youtube_vos,
    "ref_davis17": ref_davis17,
    "revos": revos,
    "lvvis": lvvis,
    "reasonvos": reasonvos,
    "synthetic": mevis,
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
