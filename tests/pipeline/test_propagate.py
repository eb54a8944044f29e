"""Under which frames the masks of a key-frame run are stored, and in which order."""

import numpy as np

from glus.inference.published_names import published_sources
from glus.masks import decode_rle, encode_rle
from glus.records.split import StagedSplit
from glus.records.tables import TableWriter, read_table
from glus.records.video import Expression, Video
from glus.steps.propagate import StoredTrack, frame_names

T, KEY_FRAME = 9, 3
ORDER = [*range(KEY_FRAME, T), *range(KEY_FRAME - 1, -1, -1)]  # as frames are segmented


def rows(tmp_path, *, published):
    """The mask of frame i holds i set pixels; that of the last one was not generated."""
    split, video = StagedSplit(tmp_path / "own" / "test", tmp_path), Video("v", T, 4, 4, (), "v", ())
    expression = Expression("v", "0", "a dog", (), (), None)
    with TableWriter("ways", tmp_path / "masks.parquet") as table:
        names = frame_names(T, KEY_FRAME, published=published)
        track = StoredTrack(table, split, video, expression, ".", names)
        for frame in ORDER:
            mask = np.arange(16).reshape(4, 4) < frame
            track.store(frame, encode_rle(mask), frame < T - 1, 1.0)
    stored = read_table("ways", tmp_path / "masks.parquet").to_pylist()
    stored.sort(key=lambda row: row["frame_index"])
    assert [row["frame_index"] for row in stored] == list(range(T))
    return [(int(decode_rle(row["rle_counts"], 4, 4).sum()), row["seg_token_generated"]) for row in stored]


def test_each_mask_lies_under_its_own_frame(tmp_path):
    assert rows(tmp_path, published=False) == [(index, index < T - 1) for index in range(T)]


def test_the_published_names_on_demand(tmp_path):
    expected = [
        (0, False) if source is None else (source, source < T - 1) for source in published_sources(T, KEY_FRAME)
    ]
    assert rows(tmp_path, published=True) == expected
