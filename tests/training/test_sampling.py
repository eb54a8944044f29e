"""Sampling rules, and that a step is a function of its number."""

import numpy as np
import pytest

from glus.errors import InputError
from glus.processing.context_frames import centre_context_frames
from glus.records.split import StagedSplit
from glus.records.tables import write_table
from glus.records.video import Expression
from glus.training.loop.sampling import (
    Mixture,
    batch_generator,
    sample_context_frames,
    sample_expressions,
    sample_one_per_object,
    sample_window,
)


def expression(number, annotation="0", family="appearance"):
    return Expression("v", str(number), "the red circle", (annotation,), (annotation,), family)


@pytest.fixture
def split(tmp_path):
    key = {"dataset": "synthetic", "split": "train"}
    videos, expressions = [], []
    for number, frames in enumerate((3, 4, 12)):
        names = [f"{index:05d}" for index in range(frames)]
        videos.append(
            {**key, "video_id": f"v{number}", "num_frames": frames, "height_px": 4, "width_px": 4,
             "frame_names": names, "frame_dir": f"v{number}", "grey_frames": []}
        )  # fmt: skip
        expressions.append(
            {**key, "video_id": f"v{number}", "expression_id": "0", "expression": "the red circle",
             "object_ids": ["0"], "annotation_ids": ["0"], "family": ("appearance", "motion", "greyed")[number]}
        )  # fmt: skip
    folder = tmp_path / "synthetic" / "train"
    write_table("videos", videos, folder / "videos.parquet")
    write_table("expressions", expressions, folder / "expressions.parquet")
    return StagedSplit(folder, tmp_path)


def test_one_context_frame_from_each_quarter():
    for num_frames in (1, 3, 4, 7, 12, 100):
        bounds = [int(bound) for bound in np.linspace(0, num_frames, 5)]
        for seed in range(20):
            frames = sample_context_frames(num_frames, 4, np.random.default_rng(seed))
            assert len(frames) == 4 and all(0 <= frame < num_frames for frame in frames)
            if num_frames >= 4:
                assert all(low <= frame < high for frame, low, high in zip(frames, bounds, bounds[1:], strict=False))


def test_centre_frames_of_the_reference():
    assert centre_context_frames(14, 4) == [2, 5, 9, 12]
    assert centre_context_frames(3, 4) == [2, 0, 1, 2]


def test_windows_are_contiguous_and_cover_the_video():
    starts = {tuple(sample_window(6, 4, 0.0, np.random.default_rng(seed))) for seed in range(50)}
    assert starts == {(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)}
    assert (
        sample_window(6, 4, 1.0, np.random.default_rng(0))[0] > sample_window(6, 4, 1.0, np.random.default_rng(0))[-1]
    )


@pytest.mark.parametrize("reverse", [0.0, 1.0])
def test_windows_start_clear_and_go_on_into_ambiguous_frames_where_asked(reverse):
    def drawn(into_ambiguous, ambiguous):
        draws = (sample_window(10, 4, reverse, np.random.default_rng(n), ambiguous, into_ambiguous) for n in range(200))
        return {tuple(window) for window in draws}

    ambiguous = [4, 5, 6]
    anywhere, into = drawn(0.0, ambiguous), drawn(1.0, ambiguous)
    assert all(window[0] not in ambiguous for window in anywhere)
    assert into == {window for window in anywhere if set(window) & set(ambiguous)} != anywhere
    assert drawn(1.0, []) == drawn(0.0, [])  # nothing ambiguous: any window
    assert len(drawn(1.0, range(10))) == 7  # nothing clear: any window


def test_expressions_without_replacement_and_in_order_when_few():
    few, many = [expression(n) for n in range(2)], [expression(n) for n in range(9)]
    assert sample_expressions(few, 3, np.random.default_rng(0)) == few
    drawn = sample_expressions(many, 3, np.random.default_rng(0))
    assert len({item.expression_id for item in drawn}) == 3


def test_one_per_object():
    mixed = [expression(0, "0"), expression(1, "0"), expression(2, "1"), expression(3, "2")]
    drawn = sample_one_per_object(mixed, 3, np.random.default_rng(0))
    assert sorted(item.annotation_ids for item in drawn) == [("0",), ("1",), ("2",)]


def test_a_step_is_a_function_of_its_number():
    draws = [batch_generator(0, "clip", step).integers(1 << 30) for step in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]
    assert (
        batch_generator(0, "image", 0).integers(1 << 30) != draws[0] != batch_generator(1, "clip", 0).integers(1 << 30)
    )


def test_short_videos_and_other_families_are_left_out(split):
    everything = Mixture([(split, 1.0)], [], min_frames=4)
    drawn = {everything.draw(np.random.default_rng(seed)).video.video_id for seed in range(30)}
    assert drawn == {"v1", "v2"} and everything.num_too_short == 1
    greyed = Mixture([(split, 1.0)], ["greyed"], min_frames=4)
    assert greyed.draw(np.random.default_rng(0)).video.video_id == "v2"


def test_nothing_left_to_draw_is_an_error(split):
    with pytest.raises(InputError, match=r"no video of at least 4 frames .* of the families position"):
        Mixture([(split, 1.0)], ["position"], min_frames=4)
