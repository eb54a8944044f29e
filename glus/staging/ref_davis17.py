"""Ref-DAVIS17 as converted to Refer-YouTube-VOS's layout (wjn922/ReferFormer, tools/data/convert_davis_to_ytvos.py).

Expression id = 4 k + a for the k-th object: a = 0 and 1 are annotator 1 (first frame, full video), 2 and 3 annotator 2.
"""

from __future__ import annotations

from pathlib import Path

from glus.staging.indexed_png import load_indexed, meta_file
from glus.staging.lists import require
from glus.staging.raw import Published, RawSplit

TREE = """
meta_expressions/{train,valid}/meta_expressions.json
train|valid/JPEGImages/<video>/<frame>.jpg ...
train|valid/Annotations/<video>/<frame>.png ...      (indexed PNG; a mask_dict.pkl is not read)
"""
PUBLISHER = (
    "davischallenge.org (DAVIS 2017) and the MPI Informatics page of Khoreva et al. (expressions),"
    " converted by ReferFormer's script"
)
PUBLISHED = {"train": Published(60, 576), "valid": Published(30, 244)}


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split.

    Raises:
        InputError: the dataset or the split is not there.
    """
    require(root / meta_file(split), root, TREE, PUBLISHER)
    return load_indexed(root, split)
