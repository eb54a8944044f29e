"""What the masks of a training sample are where annotations of one expression overlap."""

from types import SimpleNamespace

import numpy as np
import pytest

from glus.errors import InputError
from glus.masks import encode_rle
from glus.processing.conversation import training_prompt
from glus.records.split import StagedSplit
from glus.records.tables import write_table
from glus.records.video import Expression
from glus.training.segmentation.samples import BatchBuilder, summed_target, union_target

TRACKS = {
    "1": {0: [[1, 1, 0], [0, 0, 0]], 2: [[1, 0, 0], [0, 0, 0]]},
    "2": {0: [[0, 1, 1], [0, 0, 0]]},
}


@pytest.fixture
def split(tmp_path):
    key = {"dataset": "synthetic", "split": "train", "video_id": "v"}
    folder = tmp_path / "synthetic" / "train"
    video = {"num_frames": 3, "height_px": 2, "width_px": 3, "frame_names": list("012"), "frame_dir": "v"}
    masks = [
        {**key, "annotation_id": annotation, "frame_index": frame, "height_px": 2, "width_px": 3,
         "rle_counts": encode_rle(np.array(rows, dtype=bool)), "area_px": int(np.sum(rows))}
        for annotation, track in TRACKS.items()
        for frame, rows in track.items()
    ]  # fmt: skip
    write_table("videos", [{**key, **video, "grey_frames": []}], folder / "videos.parquet")
    write_table("masks", masks, folder / "masks.parquet")
    return StagedSplit(folder, tmp_path)


def test_union_by_default_and_sum_as_published(split):
    both = Expression("v", "0", "both", ("1", "2"), ("1", "2"), None)
    union, total = (target(split, both, [0, 1, 2]) for target in (union_target, summed_target))
    assert union.dtype == bool and total.dtype == np.uint8
    assert total.tolist() == [[[1, 2, 1], [0, 0, 0]], [[0, 0, 0]] * 2, [[1, 0, 0], [0, 0, 0]]]
    assert np.array_equal(union, total > 0)


def test_one_annotation_is_its_own_sum(split):
    one = Expression("v", "1", "one", ("2",), ("2",), None)
    assert np.array_equal(union_target(split, one, [2, 0]), summed_target(split, one, [2, 0]))


def test_sentences_are_worded_as_in_the_published_training(tokenizer):
    """One full stop of the raw text is removed, then blanks are cut off; a mark is refused."""

    def asked(text: str) -> str:
        sample = SimpleNamespace(
            expressions=[Expression("v", "0", text, (), (), None)], context_frames=[], questions=[[0]], answers=[[0]]
        )
        builder = BatchBuilder(tokenizer, None, 1)
        return builder._conversation(sample, 0)

    def prompt(text: str) -> list[int]:
        return tokenizer.encode_with_images(training_prompt(text, 0, [0], [0]))

    assert asked(" The red circle.") == prompt("the red circle")
    assert asked(" The  Red circle. ") == prompt("the  red circle.")
    with pytest.raises(InputError, match="holds <im_end>"):
        asked("the <IM_END> sign")
