"""A track whose masks are checked all at once gives the rows that one mask after the other gives."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glus.masks import encode_rle
from glus.staging.files.mask_files import _Place, _rows_one_by_one, _sound_rows
from glus.staging.raw import RawVideo

SIZE = (5, 7)
masks = hnp.arrays(bool, SIZE).map(lambda mask: {"size": [*SIZE], "counts": encode_rle(mask)})
absent = st.sampled_from([None, [], {}])


def place(num_frames: int) -> _Place:
    names = tuple(f"{index:05d}" for index in range(num_frames))
    return _Place("train/mask_dict.json", "3", RawVideo("v", names, "train/JPEGImages/v"), SIZE)


@given(st.lists(masks | absent, max_size=8))
def test_at_once_as_one_by_one(track: list[Any]) -> None:
    assert (_sound_rows(place(len(track)), track), False) == _rows_one_by_one(place(len(track)), track, [])


@pytest.mark.parametrize(
    "entry",
    [
        {"size": [7, 5], "counts": "S1"},
        {"size": [5.0, 7.0], "counts": encode_rle(np.zeros(SIZE, dtype=bool))},
        {"size": [5, 7], "counts": ""},
        {"size": [5, 7], "counts": "1"},
        {"size": [5, 7], "counts": [35]},
        {"size": [5, 7], "counts": "P"},
        {"counts": "S1"},
        [{"size": [5, 7], "counts": "S1"}],
        0,
        False,
        "S1",
    ],
)
@given(st.lists(masks | absent, max_size=3))
def test_what_is_no_plain_sound_mask_is_left_to_the_slow_way(entry: Any, track: list[Any]) -> None:
    assert _sound_rows(place(len(track) + 1), [*track, entry]) is None
