"""Ref-DAVIS17, converted to Refer-YouTube-VOS's layout or as its owners publish it, whichever lies on disk.

Source of the conversion: wjn922/ReferFormer, tools/data/convert_davis_to_ytvos.py. Expression id = 4 k + a for the k-th
object: a = 0 and 1 are annotator 1 (first frame, full video), 2 and 3 annotator 2.
"""

from __future__ import annotations

from pathlib import Path

from glus.staging.files.expression_lists import require
from glus.staging.raw import Published, RawSplit
from glus.staging.readers import davis_texts
from glus.staging.readers.indexed_png import listed_splits, load_indexed, meta_file

TREE = """
meta_expressions/{train,valid}/meta_expressions.json
train|valid/JPEGImages/<video>/<frame>.jpg ...
train|valid/Annotations/<video>/<frame>.png ...      (indexed PNG; a mask_dict.pkl is not read)
    or, as published:
DAVIS/ImageSets/2017/{train,val}.txt
DAVIS/JPEGImages/480p/<video>/<frame>.jpg ...
DAVIS/Annotations_unsupervised/480p/<video>/<frame>.png ...      (or Annotations/480p)
davis_text_annotations/Davis17_annot{1,2}{,_full_video}.txt
"""
PUBLISHER = (
    "davischallenge.org (DAVIS 2017, unsupervised, 480p) and the MPI Informatics page of Khoreva et al. (expressions);"
    " the conversion is ReferFormer's script (github.com/wjn922/ReferFormer)"
)
PUBLISHED = {"train": Published(60, 576, 144), "valid": Published(30, 244, 61)}


def splits(root: Path) -> list[str]:
    """The splits whose lists are there, in either layout."""
    return listed_splits(root) or davis_texts.listed_splits(root)


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split.

    Raises:
        MissingError: the dataset or the split is not there.
    """
    if not (root / meta_file(split)).is_file() and split in davis_texts.listed_splits(root):
        return davis_texts.load_texts(root, split)
    require(root / meta_file(split), root, TREE, PUBLISHER)
    return load_indexed(root, split)
