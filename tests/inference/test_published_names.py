"""Which mask the published key-frame script leaves under which frame's name."""

from hypothesis import given
from hypothesis import strategies as st

from glus.inference.published_names import published_sources


def test_the_published_example():
    assert published_sources(14, 5) == [0, 1, 2, 3, 4, 5, 11, 12, 13, *[None] * 5]


def test_from_the_first_frame_all_names_are_right():
    assert published_sources(3, 0) == [0, 1, 2]


@given(st.integers(1, 40).flatmap(lambda frames: st.tuples(st.just(frames), st.integers(0, frames - 1))))
def test_the_script_replayed(case):
    num_frames, key_frame = case
    files = dict(enumerate(range(key_frame, num_frames)))
    for frame in range(key_frame, -1, -1) if key_frame else ():
        files[frame] = frame
    assert published_sources(num_frames, key_frame) == [files.get(name) for name in range(num_frames)]
