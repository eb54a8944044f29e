"""Every corrupt dataset is reported as its own list says, and further faults of the same kinds."""

import json
import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glus.errors import InputError
from glus.masks import encode_rle
from glus.staging.checks import check_dataset, examine
from glus.staging.faults import Fault

LAYOUTS = {"mevis": ("mevis", "mevis"), "ytvos": ("refer_youtube_vos", "Refer-YouTube-VOS")}
FACT = re.compile(r"[\w/]+\.(?:json|jpg|png)|clip[A-Z]|frame_\d+|\d+[x*]\d+|\b\d+\b|line|column|\.\./\.\./outside")


def facts(sentence: str) -> set[str]:
    """What a message has to name: files, videos, numbers; advice in brackets is not part of it."""
    return set(FACT.findall(re.sub(r"\(do not[^)]*\)", "", sentence)))


def test_broken_datasets(shared: Path, subtests: pytest.Subtests) -> None:
    cases = sorted(shared.glob("broken/*/expected.json"))
    assert cases
    for path in cases:
        expected = json.loads(path.read_text())
        name, folder = LAYOUTS[expected["layout"]]
        with subtests.test(expected["case"]):
            faults = check_dataset(name, path.parent / folder, expected["split"])
            if expected["severity"] == "none":
                assert faults == []
                continue
            named = [fault for fault in faults if fnmatch(fault.file, expected["file"])]
            assert named == faults or expected["severity"] == "error"
            assert {fault.severity for fault in named} == {expected["severity"]}
            told = " ".join(map(str, named))
            assert not {fact for fact in facts(expected["expected"]) if fact not in told}, told


def test_controls_load(shared: Path) -> None:
    for layout in LAYOUTS.values():
        control = "ok_mevis" if layout[0] == "mevis" else "ok_ytvos"
        examined = examine(layout[0], shared / "broken" / control / layout[1], "train")
        assert [len(video.frame_names) for video in examined.raw.videos] == [5, 5]
        assert len(examined.raw.expressions) == 4
        assert set(examined.sizes.values()) == {(36, 64)}


@pytest.fixture
def dataset(tmp_path: Path, write_frames: Callable[..., None]) -> Path:
    """A sound MeViS split of two videos with one object each."""
    names = [f"{index:05d}" for index in range(4)]
    meta, masks = {}, {}
    for number, video_id in enumerate(("aaa", "bbb")):
        write_frames(tmp_path / "train/JPEGImages" / video_id, names)
        expression = {"exp": "the thing", "obj_id": [0], "anno_id": [number]}
        meta[video_id] = {"vid_id": number, "expressions": {"0": expression}, "frames": names}
        mask = np.zeros((32, 48), dtype=bool)
        mask[4:9, 10 + number : 20] = True
        masks[str(number)] = [{"size": [32, 48], "counts": encode_rle(mask)}, None, [], None]
    write(tmp_path / "train/meta_expressions.json", {"videos": meta})
    write(tmp_path / "train/mask_dict.json", masks)
    return tmp_path


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1))


def found(root: Path, workers: int = 1) -> list[Fault]:
    return check_dataset("mevis", root, "train", workers)


def mask_rows(root: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    examine("mevis", root, "train", keep=lambda video_id, part: rows.extend(part))
    return rows


def test_a_sound_split_has_no_faults(dataset: Path) -> None:
    assert found(dataset) == []
    assert [(row["video_id"], row["frame_index"], row["area_px"]) for row in mask_rows(dataset)] == [
        ("aaa", 0, 50),
        ("bbb", 0, 45),
    ]


def test_faults_come_in_the_same_order_from_several_processes(dataset: Path) -> None:
    for video_id in ("aaa", "bbb"):
        (dataset / f"train/JPEGImages/{video_id}/00002.jpg").write_bytes(b"")
    assert [fault.file for fault in found(dataset)] == [
        "train/JPEGImages/aaa/00002.jpg",
        "train/JPEGImages/bbb/00002.jpg",
    ]
    assert found(dataset, workers=2) == found(dataset)


def test_no_frames_at_all_is_one_fault(dataset: Path) -> None:
    (dataset / "train/JPEGImages").rename(dataset / "elsewhere")
    (dataset / "train/JPEGImages.tar").touch()
    assert [(fault.file, fault.action) for fault in found(dataset)] == [
        ("train/JPEGImages", "Unpack train/JPEGImages.tar")
    ]


@pytest.mark.parametrize("name", ["../../aaa", "/etc", "a/../../b", "..", "."])
def test_names_that_lead_out_open_nothing(dataset: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = dataset / "train/meta_expressions.json"
    content = json.loads(meta.read_text())
    content["videos"] = {name: content["videos"]["aaa"]}
    write(meta, content)
    monkeypatch.setattr("glus.staging.checks.check_frames", lambda *_: pytest.fail("opened a frame"))
    (fault,) = found(dataset)
    assert (fault.severity, fault.file) == ("error", "train/meta_expressions.json")
    assert name in fault.problem


@pytest.mark.parametrize("key", ["frames", "expressions"])
def test_frame_and_expression_names_stay_inside(dataset: Path, key: str) -> None:
    meta = dataset / "train/meta_expressions.json"
    content = json.loads(meta.read_text())
    video = content["videos"]["aaa"]
    video[key] = ["../x", *video["frames"][1:]] if key == "frames" else {"../0": video["expressions"]["0"]}
    write(meta, content)
    assert any(fault.severity == "error" and "video aaa" in fault.record for fault in found(dataset))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"size": [32, 48], "counts": "ÿ"}, "invalid RLE"),
        ({"size": [32, 48], "counts": "P"}, "invalid RLE"),
        ({"size": [48, 32], "counts": "0"}, "48x32"),
        ({"size": "32x48", "counts": "0"}, "no compressed run lengths"),
        ({"counts": [3, 4]}, "no compressed run lengths"),
        (7, "no compressed run lengths"),
    ],
)
def test_masks_that_cannot_be_decoded(dataset: Path, entry: object, said: str) -> None:
    path = dataset / "train/mask_dict.json"
    masks = json.loads(path.read_text())
    masks["1"][2] = entry
    write(path, masks)
    (fault,) = found(dataset)
    assert said in fault.problem
    assert "anno_id 1, frame 00002 of bbb" in fault.problem


def test_masks_of_several_parts_are_united(dataset: Path) -> None:
    path = dataset / "train/mask_dict.json"
    masks = json.loads(path.read_text())
    masks["0"][0] = [masks["0"][0], masks["1"][0]]
    write(path, masks)
    assert mask_rows(dataset)[0]["area_px"] == 50


def test_place_of_damaged_json(dataset: Path) -> None:
    """Line and column point at the damage, far into a file of several blocks."""
    path = dataset / "train/mask_dict.json"
    masks = json.loads(path.read_text()) | {str(number): [None] * 4 for number in range(5, 9000)}
    text = json.dumps(masks, indent=1)
    assert len(text) > 3 * (1 << 16)
    lines = text.splitlines()
    lines[20_000] = "  nil,"
    path.write_text("\n".join(lines))
    (fault,) = found(dataset)
    line, column = map(int, re.findall(r"line (\d+), column (\d+)", fault.problem)[0])
    assert (line, column in range(3, 6)) == (20_001, True)


def test_cut_json_ends_where_the_file_ends(dataset: Path) -> None:
    path = dataset / "train/mask_dict.json"
    text = path.read_text()
    lines = text[: text.index("counts") + 3].splitlines()
    path.write_text("\n".join(lines))
    (fault,) = found(dataset)
    assert f"line {len(lines)}, column {len(lines[-1])}" in fault.problem


def test_frames_of_two_sizes(dataset: Path) -> None:
    Image.new("RGB", (24, 32)).save(dataset / "train/JPEGImages/aaa/00003.jpg")
    (fault,) = found(dataset)
    assert fault.file == "train/JPEGImages/aaa/00003.jpg"
    assert "24x32" in fault.problem
    assert "48x32" in fault.problem


@pytest.mark.parametrize("absent", ["", "train"])
def test_a_missing_dataset_is_one_paragraph(dataset: Path, absent: str) -> None:
    root = dataset if absent else dataset / "nowhere"
    with pytest.raises(InputError, match="does not exist") as caught:
        check_dataset("mevis", root, "valid_u")
    told = str(caught.value)
    assert told.startswith(str(root / "valid_u" if absent else root))
    assert "mask_dict.json" in told
    assert "henghuiding" in told
