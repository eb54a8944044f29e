"""Key frames from elsewhere: the published JSON form and Parquet, and what is wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from glus.errors import InputError
from glus.keyframes.files import read_key_frames
from glus.records.split import StagedSplit

EXPECTED = {("clip_a", "0"): 2, ("clip_a", "1"): 0, ("b", "0"): 1}


@pytest.fixture
def split(tmp_path: Path, stage_split: Callable[..., StagedSplit]) -> StagedSplit:
    """Videos of the frames 00000, 00001, 00002."""
    return stage_split(tmp_path, {"clip_a": ["0", "1"], "b": ["0"]})


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("names", [("00002", "00000", "00001"), ("2", "0", "1"), ("00002.jpg", "00000.jpg", "1")])
def test_json_as_published(split: StagedSplit, tmp_path: Path, names: tuple[str, ...]) -> None:
    """Names of files, with or without suffix and leading zeros; what another split needs is left alone."""
    content = dict(zip(("clip_a_0", "clip_a_1", "b_0"), names, strict=True)) | {"elsewhere_0": "00007"}
    assert read_key_frames(write(tmp_path / "keys.json", content), split) == EXPECTED


def test_parquet(split: StagedSplit, tmp_path: Path) -> None:
    rows = [(video, number, f"{frame:05d}", 0.5) for (video, number), frame in EXPECTED.items()]
    table = pd.DataFrame(rows, columns=["video_id", "expression_id", "frame_name", "score"])
    table.to_parquet(tmp_path / "keys.parquet")
    assert read_key_frames(tmp_path / "keys.parquet", split) == EXPECTED
    pd.concat([table, table[:1]]).to_parquet(tmp_path / "keys.parquet")
    with pytest.raises(InputError, match="row 3: video clip_a, expression 0 has a key frame already"):
        read_key_frames(tmp_path / "keys.parquet", split)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"clip_a_0": "00002", "clip_a_1": "00000"}, "no key frame for video b, expression 0"),
        (
            {"clip_a_0": "00009", "clip_a_1": "00000", "b_0": "00001"},
            "video clip_a, expression 0 is 00009, which is not among its 3",
        ),
        ({"clip_a_0": None}, "clip_a_0 is None, the name of a frame is expected"),
        (["00001"], "an object from"),
        ("{", "cannot be read as JSON"),
        ('{"b_0": "00001", "b_0": "00002"}', "the key 'b_0' stands twice"),
    ],
)
def test_faults_are_named(split: StagedSplit, tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_key_frames(write(tmp_path / "keys.json", content), split)


def test_a_name_with_two_meanings_is_refused(tmp_path: Path, stage_split: Callable[..., StagedSplit]) -> None:
    split = stage_split(tmp_path, {"a": ["b_0"], "a_b": ["0"]})
    with pytest.raises(InputError, match="a_b_0 may be"):
        read_key_frames(write(tmp_path / "keys.json", {"a_b_0": "00001"}), split)


def test_a_file_that_is_no_parquet(split: StagedSplit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_key_frames(write(tmp_path / "keys.parquet", "no table"), split)
