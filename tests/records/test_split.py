"""Tables on disk: masks come back as they were written, a video at a time, from any process, or not at all."""

import json
import pickle
import random
from collections.abc import Iterator
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from glus.errors import ArtifactError
from glus.masks import encode_rle
from glus.records.schemas import SCHEMAS
from glus.records.split import StagedSplit
from glus.records.tables import read_table, write_row_groups, write_table
from glus.records.video import Expression
from glus.staging.checks import examine
from glus.staging.spool import MaskSpool
from glus.staging.tables import write_tables

Tracks = dict[str, dict[str, dict[int, np.ndarray]]]  # video -> annotation -> frame -> bool [H, W]
KEY = {"dataset": "mevis", "split": "train"}
SIZE = (9, 14)


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    """Seven videos, listed in no alphabetical order, with up to three objects in some of five frames."""
    generator = np.random.default_rng(0)
    return {
        video: {
            str(annotation): {
                frame: generator.random(SIZE) < 0.3 for frame in range(5) if generator.random() < 0.8
            }
            for annotation in range(1 + number % 3)
        }
        for number, video in enumerate(("m", "a", "z", "UVO/-x_1", "b", "0f", "é"))
    }  # fmt: skip


def mask_rows(tracks: Tracks, video: str) -> list[dict[str, Any]]:
    return [
        {
            **KEY,
            "video_id": video,
            "annotation_id": annotation,
            "frame_index": frame,
            "height_px": mask.shape[0],
            "width_px": mask.shape[1],
            "rle_counts": encode_rle(mask),
            "area_px": int(mask.sum()),
        }
        for annotation, track in tracks[video].items()
        for frame, mask in track.items()
    ]


def write_split(folder: Path, tracks: Tracks) -> StagedSplit:
    """A split as it is staged: masks in a row group per video."""
    videos = [
        {
            **KEY,
            "video_id": video,
            "num_frames": 5,
            "height_px": SIZE[0],
            "width_px": SIZE[1],
            "frame_names": [f"{frame:05d}" for frame in range(5)],
            "frame_dir": video,
            "grey_frames": [],
        }
        for video in tracks
    ]
    directory = folder / "mevis/train"
    write_table("videos", videos, directory / "videos.parquet")
    tables = (pa.Table.from_pylist(mask_rows(tracks, video), schema=SCHEMAS["masks"]) for video in tracks)
    write_row_groups("masks", tables, directory / "masks.parquet")
    return StagedSplit(directory, folder)


@pytest.fixture
def split(tmp_path: Path, tracks: Tracks) -> StagedSplit:
    return write_split(tmp_path, tracks)


def encoded(tracks: Tracks, video: str) -> dict[str, dict[int, str]]:
    tracks_of_video = tracks[video].items()
    return {name: {frame: encode_rle(mask) for frame, mask in track.items()} for name, track in tracks_of_video}


def expression(video: str, *annotations: str) -> Expression:
    return Expression(video, "0", "it", annotations, annotations, None)


def test_any_video_in_any_order(split: StagedSplit, tracks: Tracks) -> None:
    order = random.Random(0).choices(list(tracks), k=40)
    assert set(order) == set(tracks)
    assert all(split.mask_rles(video) == encoded(tracks, video) for video in order)
    assert split.mask_rles("unknown") == {}
    assert split.has_masks


def test_a_table_that_others_wrote(split: StagedSplit, tracks: Tracks) -> None:
    """Videos that share row groups, in another order, with and without statistics: slower, not different."""
    path = split.directory / "masks.parquet"
    table = read_table("masks", path).sort_by("frame_index")
    for statistics in (True, False):
        pq.write_table(table, path, row_group_size=10, write_statistics=statistics)
        again = StagedSplit(split.directory, split.frames_root)
        assert all(again.mask_rles(video) == encoded(tracks, video) for video in tracks)


def test_a_split_without_masks(split: StagedSplit, tracks: Tracks) -> None:
    for rows in ([], iter(())):
        write_table("masks", rows, split.directory / "masks.parquet")
        empty = StagedSplit(split.directory, split.frames_root)
        assert not empty.has_masks
        assert not empty.target_masks(expression("a", "0"), [0, 1]).any()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_targets_are_unions(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever the masks, absent ones and unknown annotations included, against the definition."""
    masks = st.dictionaries(st.integers(0, 4), hnp.arrays(bool, SIZE), max_size=5)
    tracks = {"v": data.draw(st.dictionaries(st.sampled_from("012"), masks, max_size=3))}
    chosen = data.draw(st.lists(st.sampled_from("0123"), max_size=4))
    frames = data.draw(st.lists(st.integers(0, 4), max_size=6))
    targets = write_split(tmp_path, tracks).target_masks(expression("v", *chosen), frames)
    assert (targets.shape, targets.dtype) == ((len(frames), *SIZE), bool)
    for target, frame in zip(targets, frames, strict=True):
        parts = [tracks["v"][name][frame] for name in chosen if frame in tracks["v"].get(name, {})]
        assert (target == np.any(parts, axis=0)).all() if parts else not target.any()


def test_staged_masks_are_those_of_the_published_file(shared: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    files = sorted((shared / "realclips/mevis").glob("*/mask_dict.json"))
    if not files:
        pytest.skip(f"no clips in MeViS's layout in {shared}")
    for file in files:
        name = file.parent.name
        with subtests.test(name):
            spool = MaskSpool(tmp_path)
            examined = examine("mevis", file.parents[1], name, keep=spool.add)
            write_tables("mevis", name, examined, spool, tmp_path / "mevis" / name)
            split = StagedSplit(tmp_path / "mevis" / name, file.parents[1])
            published = json.loads(file.read_text())
            for item in chain.from_iterable(split.expressions.values()):
                tracks = [published[annotation] for annotation in item.annotation_ids]
                targets = split.target_masks(item, range(split.videos[item.video_id].num_frames))
                for frame, target in enumerate(targets):
                    plain = sum((coco.decode(track[frame]) for track in tracks if track[frame]), np.zeros(()))
                    assert (target == (plain > 0)).all()
            assert split.has_masks


def _send(split: StagedSplit, videos: list[str], pipe: Connection) -> None:
    pipe.send({video: split.mask_rles(video) for video in videos})


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_for_themselves(split: StagedSplit, tracks: Tracks, method: str) -> None:
    """At the same time, of a split that was read from before they began; a fork inherits the open file."""
    assert split.mask_rles("z") == encoded(tracks, "z")
    context = get_context(method)
    halves = [list(tracks)[::2], list(tracks)[::-2]]
    pipes = [context.Pipe(duplex=False) for _ in halves]
    workers = [
        context.Process(target=_send, args=(split, half, sender))
        for half, (_, sender) in zip(halves, pipes, strict=True)
    ]
    for worker in workers:
        worker.start()
    for half, (receiver, _) in zip(halves, pipes, strict=True):
        assert receiver.recv() == {video: encoded(tracks, video) for video in half}
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_a_split_travels_without_its_masks(split: StagedSplit, tracks: Tracks) -> None:
    split.mask_rles("a")
    sent = pickle.dumps(split)
    assert split.mask_rles("a")["0"].popitem()[1].encode() not in sent
    assert pickle.loads(sent).mask_rles("b") == encoded(tracks, "b")


def pages(path: Path) -> Iterator[tuple[str, int]]:
    """The video of each row group and a byte in the middle of its run lengths."""
    metadata = pq.read_metadata(path)
    column = metadata.schema.names.index("rle_counts")
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(column)
        video = metadata.row_group(group).column(metadata.schema.names.index("video_id")).statistics.min
        yield video, chunk.data_page_offset + chunk.total_compressed_size // 2


def test_damage_is_found_where_it_is(split: StagedSplit, tracks: Tracks) -> None:
    """A changed byte is an error of its video, by the checksums; the others do not touch it."""
    path = split.directory / "masks.parquet"
    places = dict(pages(path))
    content = bytearray(path.read_bytes())
    content[places["b"]] ^= 1
    path.write_bytes(content)
    damaged = StagedSplit(split.directory, split.frames_root)
    assert all(damaged.mask_rles(video) == encoded(tracks, video) for video in tracks if video != "b")
    with pytest.raises(ArtifactError, match=r"masks\.parquet: not a readable Parquet file"):
        damaged.mask_rles("b")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_table_that_was_cut_is_named(split: StagedSplit, share: float) -> None:
    path = split.directory / "masks.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError) as caught:
        StagedSplit(split.directory, split.frames_root).mask_rles("a")
    assert str(caught.value).startswith(f"{path}: not a readable Parquet file")
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(split: StagedSplit) -> None:
    path = split.directory / "masks.parquet"
    path.unlink()
    with pytest.raises(ArtifactError, match=r"masks\.parquet: no masks table there"):
        StagedSplit(split.directory, split.frames_root).mask_rles("a")


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("masks", "99", "schema masks version 99"),
        ("videos", "1", "schema videos version 1"),
        (None, None, "schema none version 0"),
    ],
)
def test_a_table_of_another_schema_is_named(
    split: StagedSplit, name: str | None, version: str | None, said: str
) -> None:
    path = split.directory / "masks.parquet"
    metadata = {"glus.schema": name, "glus.schema_version": version} if name else None
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(ArtifactError) as caught:
        StagedSplit(split.directory, split.frames_root).mask_rles("a")
    assert str(caught.value).startswith(f"{path}: holds {said}, expected masks version 1.")


@pytest.mark.parametrize("columns", [None, ["video_id", "area_px"]])
def test_a_table_of_an_older_build_is_named_by_the_column_it_lacks(
    split: StagedSplit, columns: list[str] | None
) -> None:
    path = split.directory / "masks.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["area_px"]), path)
    with pytest.raises(ArtifactError, match=r"masks\.parquet: has no column area_px; an older build wrote it\. Run"):
        read_table("masks", path, columns)


def test_rows_of_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="area_px"):
        write_table("masks", [{name: None for name in SCHEMAS["masks"].names if name != "area_px"}], tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_writing_that_stops_leaves_the_old_table(split: StagedSplit, tracks: Tracks) -> None:
    path = split.directory / "masks.parquet"
    before = path.read_bytes()

    def stopping() -> Iterator[pa.Table]:
        yield read_table("masks", path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_row_groups("masks", stopping(), path)
    assert path.read_bytes() == before


def test_rows_with_one_key_are_refused(tmp_path: Path) -> None:
    """The last of them would win: a video, an expression, a score of a frame."""
    video = {**KEY, "video_id": "a", "num_frames": 1, "height_px": 2, "width_px": 3, "frame_dir": "a"}
    video |= {"frame_names": ["0"], "grey_frames": []}
    write_table("videos", [video, video | {"num_frames": 2}], tmp_path / "videos.parquet")
    with pytest.raises(ArtifactError, match="video_id a stands in 2 rows"):
        read_table("videos", tmp_path / "videos.parquet")
    spoken = {**KEY, "video_id": "a", "expression_id": "0"}
    frames = [{**spoken, "frame_index": index, "score": 0.5, "is_key_frame": True} for index in (0, 1, 1)]
    write_table("keyframes", frames, tmp_path / "keyframes.parquet")
    with pytest.raises(ArtifactError, match="expression_id 0, frame_index 1 stands in 2 rows"):
        read_table("keyframes", tmp_path / "keyframes.parquet")
    write_table("keyframes", frames[:2], tmp_path / "keyframes.parquet")
    assert read_table("keyframes", tmp_path / "keyframes.parquet").num_rows == 2


def test_two_masks_of_an_object_in_a_frame_are_refused(tmp_path: Path) -> None:
    rows = mask_rows({"a": {"1": {0: np.eye(9, 14) > 0}}}, "a") + mask_rows({"a": {"1": {0: np.eye(9, 14) < 1}}}, "a")
    write_table("masks", rows, tmp_path / "mevis/train/masks.parquet")
    with pytest.raises(ArtifactError, match="annotation 1 of video a has two masks in frame 0"):
        StagedSplit(tmp_path / "mevis/train", tmp_path).mask_rles("a")
