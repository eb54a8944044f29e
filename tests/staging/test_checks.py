"""Every corrupt dataset is reported as its own list says, and faults of masks and links beyond them."""

import json
import os
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_sets import LEFT, areas_of, edit_json, faults_of, rle, rows_of, write_json, write_mevis, write_youtube

from glus.errors import InputError
from glus.masks import decode_rle
from glus.staging.checks import check_dataset, examine
from glus.staging.exclusion import leave_out
from glus.staging.files.mask_entries import read_entry

LAYOUTS = {"mevis": ("mevis", "mevis"), "ytvos": ("refer_youtube_vos", "Refer-YouTube-VOS")}
FACT = re.compile(r"[\w/]+\.(?:json|jpg|png)|clip[A-Z]|frame_\d+|\d+[x*]\d+|\b\d+\b|line|column|\.\./\.\./\w+")


def facts(sentence: str) -> set[str]:
    """What a message has to name: files, videos, numbers; advice in brackets is not part of it."""
    return set(FACT.findall(re.sub(r"\(do not[^)]*\)", "", sentence)))


def broken_cases(shared: Path) -> list[tuple[dict[str, Any], Path]]:
    """What is expected, and the folder of the dataset, for every case that lies there."""
    cases = [(json.loads(path.read_text()), path.parent) for path in sorted(shared.glob("broken/*/expected.json"))]
    if not cases:
        pytest.skip(f"{shared}/broken holds no cases")
    return cases


def test_broken_datasets(shared: Path, subtests: pytest.Subtests) -> None:
    for expected, folder in broken_cases(shared):
        name, root = LAYOUTS[expected["layout"]]
        with subtests.test(expected["case"]):
            faults = check_dataset(name, folder / root, expected["split"])
            if expected["severity"] == "none":
                assert faults == []
                continue
            named = [fault for fault in faults if fnmatch(fault.file, expected["file"])]
            assert named == faults or expected["severity"] == "error"
            assert {fault.severity for fault in named} == {expected["severity"]}
            told = " ".join(map(str, named))
            assert not {fact for fact in facts(expected["expected"]) if fact not in told}, told


def test_controls_load_as_they_say(shared: Path) -> None:
    controls = [(case, folder) for case, folder in broken_cases(shared) if case["severity"] == "none"]
    if not controls:
        pytest.skip("no controls among the broken datasets")
    for expected, folder in controls:
        name, root = LAYOUTS[expected["layout"]]
        examined = examine(name, folder / root, expected["split"])
        videos, frames, expressions = map(int, re.findall(r"\d+", expected["expected"])[:3])
        assert [len(video.frame_names) for video in examined.raw.videos] == [frames] * videos
        assert len(examined.raw.expressions) == expressions
        assert examined.sizes.keys() == {video.video_id for video in examined.raw.videos}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_mevis(tmp_path)
    return tmp_path


def test_a_sound_split_has_no_faults(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert areas_of("mevis", dataset) == {
        ("aaa", "0", 0): 48,
        ("aaa", "0", 3): 48,
        ("bbb", "1", 0): 48,
        ("bbb", "1", 3): 48,
    }
    other = tmp_path_factory.mktemp("youtube")
    write_youtube(other)
    assert faults_of("refer_youtube_vos", other) == []


def test_faults_come_in_the_same_order_from_several_processes(dataset: Path) -> None:
    for video_id in ("aaa", "bbb"):
        (dataset / f"train/JPEGImages/{video_id}/00005.jpg").write_bytes(b"")
    found = faults_of("mevis", dataset)
    assert [fault.file for fault in found] == [
        "train/JPEGImages/aaa/00005.jpg",
        "train/JPEGImages/bbb/00005.jpg",
    ]
    assert check_dataset("mevis", dataset, "train", workers=2) == found


# ---------------------------------------------------------------- masks in one file


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"size": [32, 48], "counts": "ÿ"}, "invalid RLE"),
        ({"size": [32, 48], "counts": "P"}, "invalid RLE"),
        ({"size": [32, 48], "counts": ""}, r"add up to 0, not to 32\*48"),
        ({"size": [48, 32], "counts": "0"}, "48x32 while the frame is 32x48"),
        ({"size": ["32", "48"], "counts": "0"}, r"\['32', '48'\], expected two whole numbers"),
        ({"size": [32.5, 48], "counts": "0"}, "expected two whole numbers"),
        ({"size": [32, 48, 1], "counts": "0"}, "expected two whole numbers"),
        ({"size": [], "counts": "0"}, "expected two whole numbers"),
        ({"size": "32x48", "counts": "0"}, "holds no compressed run lengths"),
        ({"counts": [3, 4]}, "holds no compressed run lengths"),
        ({"size": [32, 48], "counts": [3, 4]}, "add up to 7"),
        ({"size": [32, 48], "counts": [-3, 32 * 48 + 3]}, "no whole numbers from 0"),
        ({"size": [32, 48], "counts": [1.5, 32 * 48 - 1.5]}, "no whole numbers from 0"),
        (7, "is 7, which holds no compressed run lengths"),
        (False, "is False"),
        ("PQ", "is 'PQ'"),
        ([rle(LEFT), 7], "is 7"),
        ([[1, 2, 3, 4]], "invalid polygon"),
        ([[1, 2, 3, 4, 5, 10**9]], "invalid polygon"),
        ([[1, 2, 3, "4", 5, 6]], "invalid polygon"),
    ],
)
def test_masks_that_cannot_be_decoded(dataset: Path, entry: object, said: str) -> None:
    edit_json(dataset / "train/mask_dict.json", lambda masks: masks["1"].__setitem__(1, entry))
    (fault,) = faults_of("mevis", dataset)
    assert re.search(said, fault.problem)
    assert "anno_id 1, frame 00005 of bbb" in fault.problem
    assert (fault.file, fault.record) == ("train/mask_dict.json", "anno_id 1, frame 1")


def test_a_mask_of_several_parts_is_their_union(dataset: Path) -> None:
    edit_json(dataset / "train/mask_dict.json", lambda masks: masks["0"].__setitem__(0, [*masks["0"][::3]]))
    assert areas_of("mevis", dataset)["aaa", "0", 0] == 96


def test_uncompressed_runs_and_polygons_are_read() -> None:
    size = LEFT.shape
    runs = np.diff(np.flatnonzero(np.diff(LEFT.T.ravel(), prepend=False, append=False)), prepend=0).tolist()
    counts = read_entry({"size": [*size], "counts": [*runs, LEFT.size - sum(runs)]}, size)
    assert counts is not None and (decode_rle(counts, *size) == LEFT).all()
    square = read_entry([[2, 4, 8, 4, 8, 12, 2, 12]], size)
    assert square is not None and (decode_rle(square, *size) == LEFT).all()


@given(mask=st.lists(st.booleans(), min_size=12, max_size=12), uncompressed=st.booleans())
def test_entries_mean_the_mask_they_were_made_of(mask: list[bool], uncompressed: bool) -> None:
    pixels = np.array(mask).reshape(3, 4)
    changes = np.flatnonzero(np.diff(pixels.T.ravel(), prepend=False, append=not pixels.T.ravel()[-1]))
    runs = np.diff(changes, prepend=0).tolist()
    entry = {"size": [3, 4], "counts": runs} if uncompressed else rle(pixels)
    counts = read_entry(entry, (3, 4))
    assert counts is not None
    assert (decode_rle(counts, 3, 4) == pixels).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "holds no masks"),
        ({}, "holds no masks"),
        ({"0": {"a": 1}, "1": [None] * 4}, "anno_id 0 is {'a': 1}, expected a list"),
        ({"0": [None] * 5, "1": [None] * 4}, "anno_id 0 has 5 masks but video aaa has 4 frames"),
        ({"0": [None] * 4, "1": [None] * 4}, "anno_id 0 of aaa has no mask in any frame"),
    ],
)
def test_mask_files_of_another_form(dataset: Path, content: object, said: str) -> None:
    write_json(dataset / "train/mask_dict.json", content)
    told = faults_of("mevis", dataset)
    assert told[0].file == "train/mask_dict.json"
    assert said in told[0].problem


def test_an_annotation_that_stands_twice_is_named(dataset: Path) -> None:
    path = dataset / "train/mask_dict.json"
    path.write_text(path.read_text().replace('"1":', '"0":'))
    problems = [fault.problem for fault in faults_of("mevis", dataset)]
    assert "mask_dict.json has anno_id 0 more than once" in problems
    assert "bbb expression 0 refers to anno_id 1 which is not in mask_dict.json" in problems


def test_an_annotation_of_two_videos_is_a_warning(dataset: Path) -> None:
    listed = dataset / "train/meta_expressions.json"
    edit_json(listed, lambda meta: meta["videos"]["bbb"]["expressions"]["0"].update(anno_id=[0]))
    (fault,) = faults_of("mevis", dataset)
    assert (fault.severity, fault.problem[:46]) == ("warning", "anno_id 0 is used by the videos aaa, bbb, so t")


def test_frames_where_an_object_is_absent_have_no_row(dataset: Path) -> None:
    empty = rle(np.zeros_like(LEFT))
    edit_json(dataset / "train/mask_dict.json", lambda masks: masks["0"].__setitem__(1, empty))
    assert ("aaa", "0", 1) not in areas_of("mevis", dataset)


def test_a_byte_order_mark_is_no_fault(dataset: Path) -> None:
    for name in ("mask_dict", "meta_expressions"):
        path = dataset / f"train/{name}.json"
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(rows_of("mevis", dataset)) == 4


def test_place_of_damaged_json(dataset: Path) -> None:
    """Line and column point at the damage, far into a file of several blocks."""
    path = dataset / "train/mask_dict.json"
    masks = json.loads(path.read_text()) | {str(number): [None] * 4 for number in range(5, 9000)}
    text = json.dumps(masks, indent=1)
    assert len(text) > 3 * (1 << 16)
    lines = text.splitlines()
    lines[20_000] = "  nil,"
    path.write_text("\n".join(lines))
    (fault,) = faults_of("mevis", dataset)
    line, column = map(int, re.findall(r"line (\d+), column (\d+)", fault.problem)[0])
    assert (line, column in range(3, 6)) == (20_001, True)


def test_cut_json_ends_where_the_file_ends(dataset: Path) -> None:
    path = dataset / "train/mask_dict.json"
    text = path.read_text()
    lines = text[: text.index("counts") + 3].splitlines()
    path.write_text("\n".join(lines))
    (fault,) = faults_of("mevis", dataset)
    assert f"line {len(lines)}, column {len(lines[-1])}" in fault.problem


def test_masks_are_checked_where_the_frames_are_gone(dataset: Path) -> None:
    (dataset / "train/JPEGImages/aaa").rename(dataset / "elsewhere")
    (dataset / "train/JPEGImages/bbb/00000.jpg").write_bytes(b"")

    def change(masks: dict[str, Any]) -> None:
        masks["0"][1] = {"size": [9, 9], "counts": "P"}
        masks["0"][2] = {"size": [9, 9], "counts": [80]}
        masks["1"].append(None)

    edit_json(dataset / "train/mask_dict.json", change)
    problems = [fault.problem for fault in faults_of("mevis", dataset)]
    assert len(problems) == 5
    assert "train/JPEGImages/aaa does not exist" in problems[0]
    assert "is empty (0 bytes)" in problems[1]
    assert "frame 00005 of aaa holds an invalid RLE" in problems[2]
    assert "frame 00010 of aaa holds an invalid RLE (runs add up to 80, not to 9*9 pixels)" in problems[3]
    assert "anno_id 1 has 5 masks but video bbb has 4 frames" in problems[4]


def test_png_masks_are_checked_where_the_frames_are_gone(tmp_path: Path) -> None:
    write_youtube(tmp_path)
    (tmp_path / "train/JPEGImages/aaa").rename(tmp_path / "elsewhere")
    (tmp_path / "train/Annotations/aaa/00005.png").write_bytes(b"")
    found = [fault.file for fault in faults_of("refer_youtube_vos", tmp_path)]
    assert found == ["train/JPEGImages/aaa", "train/Annotations/aaa/00005.png"]


# ---------------------------------------------------------------- folders and links


def test_no_frames_at_all_is_one_fault(dataset: Path) -> None:
    (dataset / "train/JPEGImages").rename(dataset / "elsewhere")
    (dataset / "train/JPEGImages.tar").touch()
    assert [(fault.file, fault.action) for fault in faults_of("mevis", dataset)] == [
        ("train/JPEGImages", "Unpack train/JPEGImages.tar")
    ]


def test_a_folder_in_other_letters_is_pointed_at(dataset: Path) -> None:
    (dataset / "train/JPEGImages/aaa").rename(dataset / "train/JPEGImages/Aaa")
    (fault,) = faults_of("mevis", dataset)
    assert fault.file == "train/JPEGImages/aaa"
    assert "There is train/JPEGImages/Aaa" in fault.action


@pytest.mark.parametrize(
    "link",
    [
        "train/JPEGImages",
        "train/JPEGImages/aaa",
        "train/JPEGImages/aaa/00005.jpg",
        "train/mask_dict.json",
        "train/meta_expressions.json",
    ],
)
def test_links_out_of_the_dataset_are_not_followed(
    dataset: Path, link: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "there"
    (dataset / link).rename(outside)
    (dataset / link).symlink_to(outside)
    opened = record_opened(monkeypatch)
    faults = faults_of("mevis", dataset)
    assert {fault.severity for fault in faults} == {"error"}
    assert all("symbolic link out of the dataset's folder" in fault.problem for fault in faults)
    assert not [path for path in opened if path.is_relative_to(outside)]


def test_links_within_the_dataset_and_to_it_are_followed(
    dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (dataset / "train/JPEGImages").rename(dataset / "frames")
    (dataset / "train/JPEGImages").symlink_to("../frames")
    link = tmp_path_factory.mktemp("links") / "mevis"
    link.symlink_to(dataset)
    assert faults_of("mevis", link) == []


def record_opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Notes every file that is opened from here on, where links lead."""
    opened: list[Path] = []
    io_open = Path.open

    def noting(path: Path, *arguments: Any, **options: Any) -> Any:
        opened.append(Path(os.path.realpath(path)))
        return io_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", noting)
    return opened


@pytest.mark.parametrize("absent", ["", "train"])
def test_a_missing_dataset_is_one_paragraph(dataset: Path, absent: str) -> None:
    root = dataset if absent else dataset / "nowhere"
    with pytest.raises(InputError, match="does not exist") as caught:
        check_dataset("mevis", root, "valid_u")
    told = str(caught.value)
    assert told.startswith(str(root / "valid_u" if absent else root))
    assert "mask_dict.json" in told
    assert "henghuiding" in told


def test_a_folder_in_place_of_a_list_is_said(dataset: Path) -> None:
    (dataset / "valid_u/meta_expressions.json").mkdir(parents=True)
    with pytest.raises(InputError, match=r"meta_expressions.json is not a file"):
        check_dataset("mevis", dataset, "valid_u")


@pytest.mark.parametrize("split", ["..", "a/b", "/etc", ""])
def test_a_split_is_the_name_of_a_folder(dataset: Path, split: str) -> None:
    with pytest.raises(InputError, match="not the name of a split"):
        check_dataset("mevis", dataset, split)


# ---------------------------------------------------------------- videos that are left out


def test_videos_are_left_out_with_their_faults(dataset: Path) -> None:
    edit_json(dataset / "train/meta_expressions.json", lambda meta: meta["videos"]["bbb"].update(frames=["x", "y10"]))
    edit_json(dataset / "train/mask_dict.json", lambda masks: masks["1"].clear())
    assert len(faults_of("mevis", dataset)) > 1
    examined = examine("mevis", dataset, "train", exclude=["b*"])
    (fault,) = examined.faults
    assert (fault.severity, fault.problem) == ("warning", "1 videos are left out, as stage.exclude says: b*")
    assert [video.video_id for video in examined.raw.videos] == ["aaa"]


def test_a_pattern_that_names_no_video_is_an_error(dataset: Path) -> None:
    (fault,) = examine("mevis", dataset, "train", exclude=["TAO/*"]).faults
    assert fault.severity == "error"
    assert "TAO/*" in fault.problem


def test_masks_of_folders_are_left_out_too(tmp_path: Path) -> None:
    write_youtube(tmp_path)
    raw = examine("refer_youtube_vos", tmp_path, "train").raw
    leave_out(raw, ["aaa"])
    assert [folder.video_id for folder in raw.masks or []] == ["bbb"]  # type: ignore[union-attr]
