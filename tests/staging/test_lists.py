"""Faults of the lists: JSON that is none, values of other types, names that are no names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_sets import FRAMES, LEFT, edit_json, faults_of, write_json, write_mevis, write_pngs, write_youtube

from glus.staging.faults import Fault
from glus.staging.files.paths import is_inside
from glus.staging.raw import Published
from glus.staging.readers import mevis

META = "train/meta_expressions.json"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_mevis(tmp_path)
    return tmp_path


def errors_in_list(dataset: Path) -> list[Fault]:
    found = [fault for fault in faults_of("mevis", dataset) if fault.severity == "error"]
    assert found
    assert found[0].file == META
    return found


# ---------------------------------------------------------------- JSON


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b"\0", "not valid JSON"),
        (b'{"videos": {"a": \xff}}', "not UTF-8 text"),
        ('{"videos": {}}'.encode("utf-16"), "not UTF-8 text"),
        (b'{"videos": {}}', "lists no videos"),
        (b"[]", "holds [], expected an object"),
        (b"null", "holds None, expected an object"),
        (b"{}", "no object 'videos'"),
        (b'{"videos": []}', "no object 'videos'"),
        (b'{"videos": NaN}', "a number that JSON does not allow: NaN"),
        (b'{"videos": -Infinity}', "a number that JSON does not allow: -Infinity"),
        (b'{"videos": ' + b"9" * 5000 + b"}", "a number that JSON does not allow"),
        (b"[" * 100_000, "hundreds of levels"),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else None,
)
def test_files_that_are_no_lists(dataset: Path, content: bytes, said: str) -> None:
    (dataset / META).write_bytes(content)
    (fault,) = errors_in_list(dataset)
    assert said in fault.problem


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [('"bbb"', '"aaa"', "videos"), ('"anno_id"', '"obj_id"', "videos > aaa > expressions > 0")],
)
def test_keys_that_stand_twice_are_named(dataset: Path, old: str, new: str, place: str) -> None:
    path = dataset / META
    path.write_text(path.read_text().replace(old, new))
    found = [fault for fault in errors_in_list(dataset) if "more than once" in fault.problem]
    assert place in {fault.record for fault in found}
    assert new.strip('"') in found[0].problem


@pytest.mark.parametrize("copy", ['"counts": "06"', '"size": [1, 1]'])
def test_keys_that_stand_twice_in_a_mask_are_named(dataset: Path, copy: str) -> None:
    path = dataset / "train/mask_dict.json"
    path.write_text(path.read_text().replace('"size"', f'{copy}, "size"', 1))
    (fault,) = faults_of("mevis", dataset)
    assert (fault.severity, fault.record) == ("error", "anno_id 0, frame 0")
    assert f"has the key {copy.split(':')[0][1:-1]!r} more than once" in fault.problem


# ---------------------------------------------------------------- values


def video(change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda meta: change(meta["videos"]["aaa"]) and None


def expression(**values: Any) -> Change:
    return video(lambda record: record["expressions"]["0"].update(values))


def frames(names: Any) -> Change:
    return video(lambda record: record.update(frames=names))


def expressions(content: Any) -> Change:
    return video(lambda record: record.update(expressions=content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda meta: meta["videos"].update(aaa=[1]), "aaa has no list 'frames'"),
        (frames({"0": "00000"}), "aaa has no list 'frames'"),
        (frames([]), "aaa has no frames"),
        (frames([0, 5, 10, 15]), "not a list of plain file names, but hold 0"),
        (frames(["../x", *FRAMES[1:]]), "not a list of plain file names, but hold '../x'"),
        (frames(["/etc/x", *FRAMES[1:]]), "not a list of plain file names"),
        (frames(["a\\b", *FRAMES[1:]]), "not a list of plain file names"),
        (frames(["\0", *FRAMES[1:]]), "not a list of plain file names"),
        (frames(["x" * 300, *FRAMES[1:]]), "not a list of plain file names"),
        (frames([f"{name}.jpg" for name in FRAMES]), "lists 00000.jpg; frames are listed by name without extension"),
        (frames(["1", "2", "10", "11"]), "not zero-padded numbers of one width"),
        (expressions([{"exp": "x"}]), "no object 'expressions'"),
        (expressions({"0": "the thing"}), "no object 'expressions'"),
        (expressions({"../0": {"exp": "x", "obj_id": [0], "anno_id": [0]}}), "leads out of its folder: '../0'"),
        (expressions({"": {"exp": "x", "obj_id": [0], "anno_id": [0]}}), "leads out of its folder: ''"),
        (expression(exp=None), "aaa expression 0 has no text"),
        (expression(exp=["the", "thing"]), "aaa expression 0 is a list"),
        (expression(exp=7), "aaa expression 0 is a int (7)"),
        (expression(exp=" \t"), "aaa expression 0 is empty"),
        (expression(exp="half \ud83d"), "holds a zero byte or half a character"),
        (expression(exp="the [SEG] sign"), "aaa expression 0 holds [SEG]"),
        (expression(exp="an <IMAGE>"), "aaa expression 0 holds <image>"),
        (expression(obj_id=None), "aaa expression 0 has no obj_id (needed for training)"),
        (expression(anno_id={"0": 1}), "aaa expression 0 has anno_id {'0': 1}, expected a list of numbers"),
        (expression(anno_id=[[0]]), "aaa expression 0 has anno_id [[0]], expected a list of numbers"),
        (expression(anno_id=[True]), "aaa expression 0 has anno_id [True], expected a list of numbers"),
        (expression(anno_id=[0.0]), "aaa expression 0 has anno_id [0.0], expected a list of numbers"),
        (expression(anno_id=[10**30]), "refers to anno_id 1000000000000000000000000000000 which is not in"),
    ],
)
def test_records_that_cannot_be_used(dataset: Path, change: Change, said: str) -> None:
    edit_json(dataset / META, change)
    found = errors_in_list(dataset)
    assert any(said in fault.problem for fault in found), found
    assert all("aaa" in fault.record for fault in found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (expressions({}), "1 videos have no usable expressions: aaa"),
        (frames(FRAMES[::-1]), "the frames of aaa are not listed in ascending order"),
        (expression(obj_id=[0, 1]), "lists of different lengths in obj_id and anno_id"),
        (lambda meta: meta["videos"].update(AAA=meta["videos"].pop("bbb")), "AAA differ only in upper and lower case"),
    ],
)
def test_records_that_are_told_and_used(dataset: Path, change: Change, said: str) -> None:
    (dataset / "train/JPEGImages/AAA").symlink_to("bbb")
    edit_json(dataset / META, change)
    (fault,) = faults_of("mevis", dataset)
    assert fault.severity == "warning"
    assert said in fault.problem


@pytest.mark.parametrize(
    "name", ["../../aaa", "/etc", "a/../../b", "..", ".", "", "./aaa", "aaa/", "a//b", "a\\b", "\0"]
)
@pytest.mark.parametrize("layout", ["mevis", "refer_youtube_vos"])
def test_video_ids_that_lead_out_open_nothing(
    tmp_path: Path, name: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    {"mevis": write_mevis, "refer_youtube_vos": write_youtube}[layout](tmp_path)
    meta = tmp_path / {"mevis": META, "refer_youtube_vos": f"meta_expressions/{META}"}[layout]
    edit_json(meta, lambda content: {"videos": {name: content["videos"]["aaa"]}})
    for module in ("frames", "mask_files"):
        monkeypatch.setattr(
            f"glus.staging.files.{module}.missing_folder", lambda *_: pytest.fail("looked for its folder")
        )
    (fault,) = [fault for fault in faults_of(layout, tmp_path) if "video id" in fault.problem]
    assert (fault.severity, fault.file) == ("error", meta.relative_to(tmp_path).as_posix())
    assert repr(name).strip("'") in fault.problem.replace("\\\\\\\\", "\\\\")


@given(st.text(max_size=20) | st.lists(st.sampled_from(["..", ".", "a", "", "/", "\\"]), max_size=5).map("/".join))
def test_what_is_inside_stays_inside(name: str) -> None:
    if is_inside(name):
        joined = Path("/root/of/data") / name
        assert joined.is_relative_to("/root/of/data")
        assert joined != Path("/root/of/data")
        assert Path(*joined.parts).as_posix() == f"/root/of/data/{name}"
        assert ".." not in joined.parts


def test_names_from_files_cannot_write_to_the_terminal(dataset: Path) -> None:
    edit_json(
        dataset / META, lambda meta: meta["videos"].update({"\x1b[31mred\n": {"frames": ["\x07"]}, "x" * 5000: 1})
    )
    for fault in faults_of("mevis", dataset):
        assert str(fault).isprintable()
        assert len(str(fault)) < 5000


def test_mask_objects_that_are_not_named_or_not_there(tmp_path: Path) -> None:
    write_youtube(tmp_path)
    change = {"1": {"exp": "the other", "obj_id": "7"}}
    edit_json(tmp_path / "meta_expressions" / META, lambda meta: meta["videos"]["aaa"]["expressions"].update(change))
    never_seen, never_named = faults_of("refer_youtube_vos", tmp_path)
    assert never_seen.severity == "error"
    assert "aaa expression 1 refers to object 7 which no annotation of the video shows" in never_seen.problem
    assert never_named.severity == "warning"
    assert "1 objects of the masks are named by no expression, such as 2 of aaa" in never_named.problem


@pytest.mark.parametrize(("dataset", "write"), [("mevis", write_mevis), ("refer_youtube_vos", write_youtube)])
def test_an_object_absent_from_a_short_video_is_no_error(
    tmp_path: Path, dataset: str, write: Callable[[Path], None]
) -> None:
    write(tmp_path)
    meta = META if dataset == "mevis" else f"meta_expressions/{META}"
    edit_json(tmp_path / meta, lambda content: content["videos"]["aaa"].update(frames=FRAMES[1:2]))
    if dataset == "mevis":
        edit_json(tmp_path / "train/mask_dict.json", lambda masks: masks.update({"0": [None]}))
    write_pngs(tmp_path / "train/Annotations/aaa", {FRAMES[1]: LEFT * 1})
    assert {fault.severity for fault in faults_of(dataset, tmp_path)} == {"warning"}


def test_the_baseline_file_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    objects = {"1": {"category": "dog", "frames": FRAMES, "expressions": ["a dog"]}}
    content = {"videos": {name: {"objects": objects} for name in ("aaa", "bbb")}}
    write_json(tmp_path / "meta_expressions" / META, content)
    (fault,) = faults_of("refer_youtube_vos", tmp_path)
    assert "lists expressions below objects" in fault.problem


def test_a_release_under_the_name_of_the_other_is_told(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(mevis.PUBLISHED, "train v2", Published(2, 2))
    (fault,) = faults_of("mevis", dataset)
    assert "has the name of v1, but the 2 expressions of another release" in fault.problem
