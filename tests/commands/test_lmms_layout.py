"""lmms-eval's layout, written and read; and its score beside DAVIS's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_sets import ANSWERS, FRAMES, F, J, write_masks, write_mevis

SPLIT = ("--dataset", "mevis", "--split", "valid_u")
IDS = {key: f"mevis_track_{number}" for number, key in enumerate(sorted(ANSWERS))}


@pytest.fixture
def repacked(run: Callable[..., Any]) -> Path:
    write_mevis(Path("data"))
    code, out, errors = run("export", "lmms-eval", *SPLIT, "--root", "data", "-o", "repacked")
    assert code == 0, errors
    assert "6 expressions, no films" in out
    answers = {(video, IDS[video, name]): mask for (video, name), mask in ANSWERS.items()}
    write_masks(Path("predictions"), answers)
    for place in Path("predictions").glob("*/*"):  # frames by their number, as there are no names
        for index, frame in enumerate(FRAMES):
            (place / f"{frame}.png").rename(place / f"new-{index:05d}.png")
        for index in range(len(FRAMES)):
            (place / f"new-{index:05d}.png").rename(place / f"{index:05d}.png")
    return Path("repacked")


def test_what_is_written_is_what_the_tasks_read(repacked: Path) -> None:
    rows = pq.read_table(repacked / "data/valid_u.parquet").to_pylist()
    assert [(row["video"], row["qid"], row["id"]) for row in rows] == [(*key, name) for key, name in IDS.items()]
    assert rows[2]["mask_ids"] == ["1", "2"]
    assert (rows[0]["height"], rows[0]["width"], rows[0]["n_frames"], rows[0]["fps"]) == (24, 32, 3, 6)
    [entry] = json.loads(rows[2]["frame_trajectories"])  # one of six frames a second
    assert (entry["frame"], entry["time"]) == (0, 0)
    for point, left, top in zip(entry["points"], (2, 20), (2, 14), strict=True):
        x, y = point["point"]
        assert left + 2 <= x <= left + 3 and top + 2 <= y <= top + 3  # the middle of a box of 6 pixels
    [masks] = json.loads((repacked / "masks/a/1.json").read_text()).values()
    assert len(masks) == 3 and masks[0]["size"] == [24, 32]


def test_a_split_is_its_own_tables_and_all_of_them(run: Callable[..., Any], repacked: Path) -> None:
    score = ("score", *SPLIT, "--root", "repacked", "--predictions", "predictions", "--json")
    whole = repacked / "data/valid_u.parquet"
    whole.with_name("valid_u2.parquet").write_bytes(b"another split")
    expected = run(*score)[1]
    table = pq.read_table(whole)
    whole.unlink()
    for number, start in enumerate((0, 3)):
        pq.write_table(table.slice(start, 3), whole.with_name(f"valid_u-0000{number}-of-00002-a1b2.parquet"))
    assert run(*score) == (0, expected, "")
    whole.with_name("valid_u-00001-of-00002-a1b2.parquet").unlink()
    code, _, errors = run(*score)
    assert code == 2 and "is one of 2 shards, and 00001 of them is not in repacked/data" in errors


def test_the_repacked_split_gives_the_same_scores(run: Callable[..., Any], repacked: Path) -> None:
    score = ("score", *SPLIT, "--root", "repacked", "--predictions", "predictions", "--json")
    code, out, errors = run(*score)
    assert code == 0, errors
    found = json.loads(out)
    assert (found["J"], found["F"]) == pytest.approx((J, F))
    assert found["dataset_version"] == "lmms-eval, 6 expressions"
    theirs = json.loads(run(*score, "--protocol", "lmms_eval")[1])
    assert (theirs["J"], theirs["F"]) == (found["J"], found["F"])
    # IoU 1, 0, 1/2, 0 (nothing), 1, 1; at 1/2 ten of 19 bounds hold
    assert theirs["lmms_HOTA"] == pytest.approx(100 * (1 + 0 + 10 / 19 + 0 + 1 + 1) / 6)
    assert "leaves out videos that failed" in theirs["notes"][0] and "the root of DetA" in theirs["notes"][0]


def rewrite(change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = Path("repacked/data/valid_u.parquet")
    rows = pq.read_table(path).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows), path)


MASKS = Path("repacked/masks/a/1.json")
BREAK: dict[str, tuple[Callable[[], object], str]] = {
    "no column": (lambda: rewrite(lambda rows: [row.pop("mask_ids") for row in rows]), "mask_ids"),
    "leads out": (lambda: rewrite(lambda rows: rows[0].update(video="../a")), "leads out of the data set"),
    "number": (lambda: rewrite(lambda rows: rows[0].update(n_frames=0)), "n_frames: 0"),
    "two sizes": (lambda: rewrite(lambda rows: rows[1].update(width=33)), "several sizes"),
    "twice": (lambda: rewrite(lambda rows: rows.append(rows[0])), "is there twice"),
    "no mask file": (lambda: MASKS.unlink(), "unpack masks.zip again"),
    "cut": (lambda: MASKS.write_text(MASKS.read_text()[:-9]), "not valid JSON"),
    "too long": (lambda: MASKS.write_text(json.dumps({"0": [None] * 4})), "at most 3 frames"),
    "runs": (lambda: MASKS.write_text(json.dumps({"0": [{"size": [24, 32], "counts": "11"}]})), "frame 0"),
    "no table": (lambda: Path("repacked/data/valid_u.parquet").write_bytes(b"PAR1"), "no Parquet file"),
}


@pytest.mark.parametrize("kind", BREAK)
def test_what_cannot_be_used_is_named(run: Callable[..., Any], repacked: Path, kind: str) -> None:
    change, named = BREAK[kind]
    change()
    code, out, errors = run("score", *SPLIT, "--root", "repacked", "--predictions", "predictions")
    assert (code, out) == (2, "")
    assert named in errors


def test_a_mask_file_that_ends_early_shows_the_object_no_more(run: Callable[..., Any], repacked: Path) -> None:
    MASKS.write_text(json.dumps({"0": []}))
    Path("repacked/masks/a/2.json").write_text(json.dumps({"0": []}))
    found = json.loads(run("score", *SPLIT, "--root", "repacked", "--predictions", "predictions", "--json")[1])
    assert found["absent_empty"] == 0
    assert np.isclose(found["present_answered"], 100 * 2 / 3)
