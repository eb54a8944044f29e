"""Whatever stands in a dataset's JSON, checking it ends in faults: no other exception, no file outside the root."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_sets import FRAMES, LEFT, rle, write_frames, write_json, write_mevis, write_pngs, write_youtube

from glus.errors import InputError
from glus.staging.checks import check_dataset
from glus.staging.readers.davis_texts import FILES, TEXTS


def write_revos(root: Path) -> None:
    write_frames(root / "JPEGImages/UVO/a")
    spoken = {"0": {"exp": "it", "obj_id": [1], "anno_id": [1], "type_id": 0}}
    write_json(root / "meta_expressions_train_.json", {"videos": {"UVO/a": {"frames": FRAMES, "expressions": spoken}}})
    write_json(root / "mask_dict.json", {"1": [rle(LEFT), None, None, None]})


def write_lvvis(root: Path) -> None:
    write_frames(root / "train/00005")
    content = {
        "videos": [{"id": 5, "file_names": [f"train/00005/{name}.jpg" for name in FRAMES]}],
        "categories": [{"id": 8, "name": "cat"}],
        "annotations": [
            {"id": 1, "video_id": 5, "category_id": 8, "segmentations": [rle(LEFT), [[2, 4, 8, 4, 8, 12]], None, None]}
        ],
    }
    write_json(root / "train_instances.json", content)


def write_reasonvos(root: Path) -> None:
    write_frames(root / "JPEGImages/clip")
    write_pngs(root / "Annotations/mose_clip_7", dict.fromkeys(FRAMES, LEFT * 255))
    spoken = [{"obj_id": "7", "exp_id": 0, "exp_text": "it", "is_sent": False}]
    record = {"source": "mose", "frames": FRAMES, "expressions": spoken}
    write_json(root / "meta_expressions.json", {"videos": {"clip": record}})


def write_own(root: Path) -> None:
    write_frames(root / "train/JPEGImages/cat")
    write_pngs(root / "train/Annotations/cat", dict.fromkeys(FRAMES, LEFT * 1))
    write_json(root / "train/expressions.json", [{"video": "cat", "expression": "a cat", "objects": [1]}])


SETS = [
    ("mevis", "train", write_mevis, ("train/meta_expressions.json", "train/mask_dict.json")),
    ("refer_youtube_vos", "train", write_youtube, ("meta_expressions/train/meta_expressions.json",)),
    ("revos", "train", write_revos, ("meta_expressions_train_.json", "mask_dict.json")),
    ("lvvis", "train", write_lvvis, ("train_instances.json",)),
    ("reasonvos", "test", write_reasonvos, ("meta_expressions.json",)),
    ("own", "train", write_own, ("train/expressions.json",)),
]

ODD_TEXTS = ["", " ", ".", "..", "../..", "/", "/etc/passwd", "a/../../b", "a\\b", "\0", "00000", "aaa", "é", "\ud800"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.sampled_from(ODD_TEXTS)
    | st.text(max_size=6)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(ODD_TEXTS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=6,
)


def places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a JSON tree."""
    yield place
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, child in children:
        yield from places(child, (*place, key))


def mutate(draw: st.DrawFn, content: Any) -> Any:
    """Replaces, removes, renames or doubles one value somewhere in the tree."""
    *way, last = draw(st.sampled_from(list(places(content))[1:]))
    parent = content
    for key in way:
        parent = parent[key]
    action = draw(st.sampled_from(["replace", "remove", "rename", "double"]))
    if action == "remove":
        del parent[last]
    elif action == "replace" or isinstance(parent, list):
        parent[last] = draw(values)
    elif action == "rename":
        parent[draw(st.sampled_from(ODD_TEXTS))] = parent.pop(last)
    else:
        parent[draw(st.sampled_from(ODD_TEXTS))] = parent[last]
    return content


@pytest.mark.parametrize(("dataset", "split", "write", "files"), SETS, ids=[name for name, *_ in SETS])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_json_ends_in_faults(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dataset: str,
    split: str,
    write: Callable[[Path], None],
    files: tuple[str, ...],
    data: st.DataObject,
) -> None:
    root = tmp_path / "root"
    sound = tmp_path / "sound"
    if not root.is_dir():
        write(root)
        for file in files:
            write_json(sound / file, json.loads((root / file).read_text()))
        assert check_dataset(dataset, root, split) == []
    for file in files:
        (root / file).write_text((sound / file).read_text())
    file = data.draw(st.sampled_from(files))
    content = json.loads((sound / file).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        if content:
            content = mutate(data.draw, content)
    (root / file).write_text(json.dumps(content))
    with monkeypatch.context() as patched:
        opened = watch(patched)
        try:
            faults = check_dataset(dataset, root, split)
        except InputError:
            faults = []
        outside = [path for path in opened if not path.is_relative_to(root)]
    assert not outside
    for fault in faults:
        assert str(fault).isprintable()
        assert fault.problem and fault.action


def write_own_csv(root: Path) -> None:
    write_own(root)
    (root / "train/expressions.json").unlink()
    (root / "train/expressions.csv").write_text('video,expression,objects\ncat,"a cat, left",1\n')


def write_davis(root: Path) -> None:
    write_frames(root / "DAVIS/JPEGImages/480p/dog")
    write_pngs(root / "DAVIS/Annotations/480p/dog", dict.fromkeys(FRAMES, LEFT * 1))
    for file in DAVIS_FILES:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text('dog 1 "a dog"\n' if TEXTS in file else "dog\n")


DAVIS_FILES = ("DAVIS/ImageSets/2017/train.txt", *(f"{TEXTS}/{name}" for name, _ in FILES))
TEXT_SETS = [
    *SETS,
    ("own", "train", write_own_csv, ("train/expressions.csv",)),
    ("ref_davis17", "train", write_davis, DAVIS_FILES),
]


@pytest.mark.parametrize(
    ("dataset", "split", "write", "files"), TEXT_SETS, ids=[case[2].__name__ for case in TEXT_SETS]
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(choice=st.integers(0, 9), start=st.floats(0, 1), length=st.integers(0, 30), put=st.binary(max_size=8))
def test_any_bytes_in_a_list_end_in_faults(
    tmp_path: Path,
    dataset: str,
    split: str,
    write: Callable[[Path], None],
    files: tuple[str, ...],
    choice: int,
    start: float,
    length: int,
    put: bytes,
) -> None:
    if not any(tmp_path.iterdir()):
        write(tmp_path)
        assert check_dataset(dataset, tmp_path, split) == []
    path = tmp_path / files[choice % len(files)]
    sound = path.read_bytes()
    place = int(start * len(sound))
    path.write_bytes(sound[:place] + put + sound[place + length :])
    try:
        assert all(str(fault).isprintable() for fault in check_dataset(dataset, tmp_path, split))
    finally:
        path.write_bytes(sound)


def watch(patched: pytest.MonkeyPatch) -> list[Path]:
    """Notes the files and folders that are opened or listed from here on, where links lead."""
    noted: list[Path] = []
    for name in ("open", "iterdir", "glob"):
        original = getattr(Path, name)

        def noting(path: Path, *arguments: Any, _original: Any = original, **options: Any) -> Any:
            noted.append(Path(os.path.realpath(path)))
            return _original(path, *arguments, **options)

        patched.setattr(Path, name, noting)
    return noted
