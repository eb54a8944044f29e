"""Masks on their way to the table: whatever order they come in, they leave sorted and video by video."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glus.records.tables import read_table
from glus.staging.checks import examine
from glus.staging.spool import MaskSpool
from glus.staging.tables import write_tables

rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(("1", "10", "2", "é")), st.integers(0, 9)), unique=True
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(rows, st.permutations("abcd"))
def test_rows_leave_sorted(tmp_path: Path, rows: list[tuple[str, str, int]], videos: list[str]) -> None:
    spool = MaskSpool(tmp_path)
    for video, annotation, frame in rows:
        row = {"video_id": video, "annotation_id": annotation, "frame_index": frame, "height_px": 4, "width_px": 5}
        spool.add(video, [{**row, "rle_counts": f"{video}{annotation}{frame}", "area_px": frame}])
        spool.add(video, [])
    tables = list(spool.tables(videos))
    assert all(len(set(table["video_id"].to_pylist())) == 1 for table in tables)
    assert [row["rle_counts"] for table in tables for row in table.to_pylist()] == [
        f"{video}{annotation}{frame}"
        for video, annotation, frame in sorted(rows, key=lambda row: (videos.index(row[0]), *row[1:]))
    ]


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    spool = MaskSpool(tmp_path)
    spool.add("a", [])
    assert list(tmp_path.iterdir()) == []
    assert list(spool.tables("a")) == []


def test_a_video_is_a_row_group(shared: Path, tmp_path: Path) -> None:
    """In the order of the videos, sorted by annotation and frame: one contiguous read, as the contract says."""
    root = shared / "realclips/mevis"
    if not (root / "train").is_dir():
        pytest.skip(f"no clips in MeViS's layout in {shared}")
    spool = MaskSpool(tmp_path)
    examined = examine("mevis", root, "train", keep=spool.add)
    counts = write_tables("mevis", "train", examined, spool, tmp_path)
    file = pq.ParquetFile(tmp_path / "masks.parquet")
    groups = [file.read_row_group(group).to_pandas() for group in range(file.num_row_groups)]
    with_masks = [
        video.video_id for video in examined.raw.videos if any(video.video_id in set(g.video_id) for g in groups)
    ]
    assert [group["video_id"].unique().tolist() for group in groups] == [[video] for video in with_masks]
    for group in groups:
        assert group.equals(group.sort_values(["annotation_id", "frame_index"]))
    assert counts["masks"] == sum(map(len, groups)) == read_table("masks", tmp_path / "masks.parquet").num_rows
