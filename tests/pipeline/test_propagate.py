"""Under which frames the masks of a key-frame run are stored."""

import numpy as np

from glus.inference.published_names import published_sources, under_published_names
from glus.inference.video import SegmentationResult
from glus.masks import decode_rle
from glus.records.split import StagedSplit
from glus.records.video import Expression
from glus.steps.propagate import prediction_rows

T, ANCHOR = 9, 3


def rows(tmp_path, *, published_frame_names):
    """Frame i of the result holds i set pixels; the last one was not generated."""
    masks = (np.arange(16).reshape(4, 4) < np.arange(T)[:, None, None])[None]
    generated = np.arange(T)[None] < T - 1
    nothing = np.zeros((1, T, 1))
    result = SegmentationResult(masks, nothing, nothing, generated, [0], [[[]] * T], np.array([ANCHOR]))
    expression = Expression("v", "0", "a dog", (), (), None)
    if published_frame_names:
        result = under_published_names(result)
    found = list(prediction_rows(StagedSplit(tmp_path / "own" / "test", tmp_path), [expression], result))
    assert [row["frame_index"] for row in found] == list(range(T))
    return [(int(decode_rle(row["rle_counts"], 4, 4).sum()), row["seg_token_generated"]) for row in found]


def test_each_mask_lies_under_its_own_frame(tmp_path):
    assert rows(tmp_path, published_frame_names=False) == [(index, index < T - 1) for index in range(T)]


def test_the_published_names_on_demand(tmp_path):
    expected = [(0, False) if source is None else (source, source < T - 1) for source in published_sources(T, ANCHOR)]
    assert rows(tmp_path, published_frame_names=True) == expected
