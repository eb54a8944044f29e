"""Pseudo-labels: joined with the staged videos, and each fault named by file and row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glus.errors import ArtifactError, InputError
from glus.records.split import StagedSplit
from glus.records.tables import write_table
from glus.training.selector.labels import LabelledVideo, hold_out, read_labels

SHA = "a" * 64


def label_rows(video: str, expression: str, ious: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "dataset": "synthetic",
            "split": "train",
            "video_id": video,
            "expression_id": expression,
            "frame_index": index,
            "frame_name": f"{index:05d}",
            "iou": iou,
            "target_present": True,
            "predicted_area_px": 10,
            "seg_token_generated": True,
            "checkpoint_step": 500,
            "checkpoint_sha256": SHA,
            "shard": 0,
        }
        for index, iou in enumerate(ious)
    ]


@pytest.fixture
def split(tmp_path: Path, stage_split: Callable[..., StagedSplit]) -> StagedSplit:
    return stage_split(tmp_path / "staged", {"a": ["0", "1"], "b": ["0"]})


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [*label_rows("a", "1", [0.1, 0.2, 0.3]), *label_rows("a", "0", [0.4, 0.5, 0.6])]


def read(tmp_path: Path, split: StagedSplit, rows: list[dict[str, Any]], **options: bool) -> list[LabelledVideo]:
    write_table("pseudolabels", rows, tmp_path / "labels/shard-00000.parquet")
    return read_labels(tmp_path / "labels", {"synthetic/train": split}, SHA, **{"absent_is_ideal": False, **options})


def test_labels_join_in_staged_order_whatever_the_rows_order(
    tmp_path: Path, split: StagedSplit, rows: list[dict[str, Any]]
) -> None:
    write_table("pseudolabels", label_rows("b", "0", [1.0, 0.0, 1.0]), tmp_path / "labels/shard-00001.parquet")
    first, second = read(tmp_path, split, rows[::-1])
    assert [item.expression_id for item in first.expressions] == ["0", "1"]
    np.testing.assert_allclose(first.targets, [[0.4, 0.5, 0.6], [0.1, 0.2, 0.3]])
    assert (first.name, second.name) == ("synthetic/train/a", "synthetic/train/b")
    np.testing.assert_allclose(second.targets, [[1, 0, 1]])


@pytest.mark.parametrize(("ideal", "expected"), [(False, [0.4, 0, 1]), (True, [0.4, 1, 1])])
def test_frames_without_target_and_prediction(
    tmp_path: Path, split: StagedSplit, ideal: bool, expected: list[float]
) -> None:
    """Only where both are absent; an absent target with a prediction keeps its label."""
    rows = label_rows("b", "0", [0.4, 1.0, 1.0])
    rows[1] |= {"target_present": False, "predicted_area_px": 0}
    rows[2] |= {"target_present": False, "predicted_area_px": 3}
    (labelled,) = read(tmp_path, split, rows, absent_is_ideal=ideal)
    np.testing.assert_allclose(labelled.targets[0], expected)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows[4].update(iou=1.5), "row 4: iou is 1.5, expected 0 to 1"),
        (lambda rows: rows[4].update(iou=float("nan")), "row 4: iou is nan, expected 0 to 1"),
        (lambda rows: rows[2].update(checkpoint_sha256="b" * 64), "row 2: labelled by checkpoint bbbbbbbbbbbb"),
        (lambda rows: rows[3].update(split="valid_u"), "row 3: synthetic/valid_u is not among the staged splits"),
        (lambda rows: rows[5].update(video_id="gone"), "row 5: video gone is not in the staged synthetic/train"),
        (lambda rows: rows[1].update(expression_id="9"), "row 1: video a has no expression 9"),
        (lambda rows: rows[1].update(frame_index=0), "row 1: this frame of this expression is labelled twice"),
        (lambda rows: rows[1].update(frame_name="7"), "row 1: frame 1 of video a is 00001, the label speaks of 7"),
        (lambda rows: rows[5].update(frame_index=8), "row 5: frame 8 of video a is not there"),
        (lambda rows: rows.pop(), "row 3: expression 0 of video a has labels for 2 of 3 frames"),
    ],
)
def test_faults_are_named(
    tmp_path: Path,
    split: StagedSplit,
    rows: list[dict[str, Any]],
    spoil: Callable[[list[dict[str, Any]]], None],
    message: str,
) -> None:
    spoil(rows)
    with pytest.raises(InputError) as error:
        read(tmp_path, split, rows)
    assert f"shard-00000.parquet, {message}" in str(error.value)


def test_no_labels_and_another_table_are_named(tmp_path: Path, split: StagedSplit) -> None:
    with pytest.raises(ArtifactError, match="no pseudolabels table"):
        read_labels(tmp_path / "nowhere", {}, SHA, absent_is_ideal=False)
    with pytest.raises(ArtifactError, match="expected pseudolabels version 1"):
        read_labels(split.directory, {}, SHA, absent_is_ideal=False)


def test_held_out_videos_keep_their_side(tmp_path: Path, stage_split: Callable[..., StagedSplit]) -> None:
    names = [f"v{index:03d}" for index in range(200)]
    split = stage_split(tmp_path, {name: ["0"] for name in names})
    videos = [LabelledVideo(split, video, (), np.zeros((0, 3))) for video in split.videos.values()]
    training, held_out = hold_out(videos, 0.2, seed=0)
    assert 25 <= len(held_out) <= 55
    assert sorted(video.name for video in [*training, *held_out]) == sorted(video.name for video in videos)
    _, of_half = hold_out(videos[:100], 0.2, seed=0)
    assert {video.name for video in of_half} == {video.name for video in held_out} & {v.name for v in videos[:100]}
    assert hold_out(videos, 0.2, seed=1)[1] != held_out
    assert hold_out(videos, 0, seed=0) == (videos, [])
    assert len(hold_out(videos[:5], 1e-9, seed=0)[1]) == 1
    with pytest.raises(InputError, match="leaves none to train on"):
        hold_out(videos, 1.0, seed=0)
