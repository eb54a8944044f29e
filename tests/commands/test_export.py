"""`glus export`: trees, COCO JSON and server zips; every way in which a zip can be wrong is told."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from tiny_sets import ANSWERS, FRAMES, HEIGHT, OBJECTS, WIDTH, write_frames, write_json, write_masks, write_mevis

SET = ("--dataset", "mevis", "--root", "data", "--split", "valid_u")
NAMES = [f"{video}/{name}/{frame}.png" for video in "ab" for name in "012" for frame in FRAMES]
NUM_MASKS = len(NAMES)


@pytest.fixture
def mevis(run: Callable[..., Any]) -> None:
    write_mevis(Path("data"))
    write_masks(Path("predictions"), ANSWERS, value=1)


def submit(run: Callable[..., Any], target: str, *options: object) -> tuple[int, str, str]:
    return run("export", "submission", *SET, "--predictions", "predictions", "-o", target, *options)


def test_zip_holds_what_the_server_takes_and_is_always_the_same(run: Callable[..., Any], mevis: None) -> None:
    code, out, errors = submit(run, "one.zip")
    assert code == 0, errors
    assert out == "one.zip written and checked: 2 videos, 6 expressions (published: 50 and 793), 18 masks\n"
    with zipfile.ZipFile("one.zip") as archive:
        assert archive.namelist() == NAMES
        with Image.open(io.BytesIO(archive.read("b/2/00005.png"))) as image:
            assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT))
            assert (np.asarray(image) == 255 * ANSWERS["b", "2"]).all()
    submit(run, "two.zip", "--processes", 2)
    assert Path("one.zip").read_bytes() == Path("two.zip").read_bytes()
    assert submit(run, "one.zip")[2] == "glus: one.zip exists already; name another folder.\n"
    assert run("export", "check", "one.zip", *SET)[0] == 0


def test_refer_youtube_vos_goes_below_annotations(run: Callable[..., Any]) -> None:
    videos = {"v": {"expressions": {"0": {"exp": "the box"}}, "frames": list(FRAMES)}}
    write_json({"videos": videos}, Path("data/meta_expressions/valid/meta_expressions.json"))
    write_frames(Path("data/valid/JPEGImages/v"))
    write_masks(Path("predictions"), {("v", "0"): OBJECTS["1"]})
    arguments = ("--dataset", "refer_youtube_vos", "--root", "data", "--split", "valid")
    code, _, errors = run("export", "submission", *arguments, "--predictions", "predictions", "-o", "a.zip")
    assert code == 0, errors
    with zipfile.ZipFile("a.zip") as archive:
        names = archive.namelist()
        assert names == [f"Annotations/v/0/{frame}.png" for frame in FRAMES]
        with zipfile.ZipFile("flat.zip", "w") as flat:
            for name in names:
                flat.writestr(name.removeprefix("Annotations/"), archive.read(name))
    assert "everything has to lie below Annotations/" in run("export", "check", "flat.zip", *arguments)[2]


def test_an_incomplete_set_gives_no_zip(run: Callable[..., Any], mevis: None) -> None:
    Path("predictions/a/1/00005.png").unlink()
    code, _, errors = submit(run, "a.zip")
    assert code == 2
    assert "1 of 6 expressions are incomplete" in errors
    assert "video a, expression 1: frames 1 missing" in errors
    assert not list(Path().glob("*.zip"))
    assert not list(Path().glob(".*.zip"))


@pytest.mark.parametrize("form", ["png", "coco"])
def test_an_incomplete_set_is_exported_but_not_silently(run: Callable[..., Any], mevis: None, form: str) -> None:
    arguments = ("export", form, *SET, "--predictions", "predictions")
    assert run(*arguments, "-o", "whole")[2] == ""
    Path("predictions/a/1/00005.png").unlink()
    shutil.rmtree("predictions/b/2")
    code, _, errors = run(*arguments, "-o", "part")
    assert code == 0
    assert "INCOMPLETE: masks of 2 of 6 expressions are missing: video a, expression 1: frames 1 missing" in errors
    assert "video b, expression 2: all 3 frames missing" in errors


def test_messages_print_no_addresses(run: Callable[..., Any], mevis: None) -> None:
    submit(run, "one.zip")
    with zipfile.ZipFile("one.zip") as archive, zipfile.ZipFile("bad.zip", "w") as bad:
        for name in NAMES:
            bad.writestr(name, b"no picture" if name == NAMES[3] else archive.read(name))
    errors = run("export", "check", "bad.zip", *SET)[2]
    assert f"{NAMES[3]} cannot be read (cannot identify image file the file)" in errors


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def palette(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    image.convert("P").save(file, "PNG")
    return file.getvalue()


GOOD = png(np.zeros((HEIGHT, WIDTH), np.uint8))
TURNED = png(np.zeros((WIDTH, HEIGHT), np.uint8))
BROKEN = {
    "no mask": (dict.fromkeys(NAMES[1:], GOOD), f"1 of {NUM_MASKS} masks are missing, first {NAMES[0]}"),
    "log file": ({"log.txt": b"done"}, "log.txt does not belong there"),
    "frame that is not listed": ({"a/0/00001.png": GOOD}, "a/0/00001.png does not belong there"),
    "way out": ({"../a.png": GOOD}, "../a.png does not belong there"),
    "extra level": ({f"masks/{name}": GOOD for name in NAMES}, "one level too deep, below masks/"),
    "other names": ({f"{name}.jpg": GOOD for name in NAMES}, f"nothing lies where it is expected, e.g. {NAMES[0]}"),
    "size": ({NAMES[4]: TURNED}, f"{NAMES[4]} is 32 x 24 pixels, the frame is 24 x 32"),
    "value": ({NAMES[4]: png(np.full((HEIGHT, WIDTH), 7, np.uint8))}, f"{NAMES[4]} holds the value 7"),
    "colour": ({NAMES[4]: png(np.zeros((HEIGHT, WIDTH, 3), np.uint8))}, f"{NAMES[4]} is a picture of mode RGB"),
    "palette": ({NAMES[4]: palette(np.zeros((HEIGHT, WIDTH), np.uint8))}, f"{NAMES[4]} is a picture of mode P"),
    "one bit": ({NAMES[4]: png(np.zeros((HEIGHT, WIDTH), bool))}, f"{NAMES[4]} is a picture of mode 1"),
    "cut": ({NAMES[4]: GOOD[:50]}, f"{NAMES[4]} cannot be read"),
    "bomb": ({NAMES[4]: bytes(1 << 20)}, f"{NAMES[4]} has {1 << 20} bytes, too many for a mask"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_zip_is_rejected_with_the_reason(run: Callable[..., Any], mevis: None, kind: str) -> None:
    changed, reason = BROKEN[kind]
    whole = dict.fromkeys(NAMES, GOOD) if len(changed) == 1 else {}
    with zipfile.ZipFile("a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (whole | changed).items():
            archive.writestr(name, content)
    code, out, errors = run("export", "check", "a.zip", *SET)
    assert (code, out) == (2, "")
    assert reason in errors


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_no_zip_a_damaged_one_and_repeated_names(run: Callable[..., Any], mevis: None) -> None:
    assert "missing.zip is not a readable zip" in run("export", "check", "missing.zip", *SET)[2]
    submit(run, "a.zip")
    content = bytearray(Path("a.zip").read_bytes())
    Path("cut.zip").write_bytes(content[:-30])
    assert "cut.zip is not a readable zip" in run("export", "check", "cut.zip", *SET)[2]
    content[80] ^= 255  # inside the first mask
    Path("flipped.zip").write_bytes(content)
    assert f"{NAMES[0]} cannot be read (Bad CRC-32" in run("export", "check", "flipped.zip", *SET)[2]
    with zipfile.ZipFile("a.zip", "a") as archive:
        archive.writestr(NAMES[3], GOOD)
        archive.mkdir("a/0")  # harmless
    assert f"{NAMES[3]} is in it more than once" in run("export", "check", "a.zip", *SET)[2]


def test_png_tree_and_coco_hold_the_same_masks(run: Callable[..., Any], mevis: None) -> None:
    shutil.rmtree("predictions/a/1")  # what is not predicted is not written
    code, out, errors = run("export", "png", *SET, "--predictions", "predictions", "-o", "tree")
    assert (code, out) == (0, "tree written: 15 masks of 5 expressions\n"), errors
    assert run("export", "coco", *SET, "--predictions", "tree", "-o", "all.json")[0] == 0
    content = json.loads(Path("all.json").read_text())
    videos = {video["id"]: video for video in content["videos"]}
    assert videos[2] == {
        "id": 2, "name": "b", "file_names": [f"b/{frame}.jpg" for frame in FRAMES], "length": 3,
        "height": HEIGHT, "width": WIDTH,
    }  # fmt: skip
    assert [item["id"] for item in content["annotations"]] == [1, 2, 3, 4, 5]
    for item in content["annotations"]:
        key = videos[item["video_id"]]["name"], item["expression_id"]
        assert item["expression"] == f"number {item['expression_id']}"
        for index, rle in enumerate(item["segmentations"]):
            mask = np.zeros((HEIGHT, WIDTH), bool) if rle is None else coco.decode(rle) == 1
            assert (mask == ANSWERS[key]).all()
            assert item["areas"][index] == (mask.sum() or None)
        rows, columns = np.nonzero(ANSWERS[key])
        if len(rows):
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert item["bboxes"] == [box] * len(FRAMES)


def test_other_datasets_have_no_server(run: Callable[..., Any]) -> None:
    arguments = ("--dataset", "revos", "--root", "data", "--split", "valid")
    code, _, errors = run("export", "submission", *arguments, "--predictions", "predictions", "-o", "a.zip")
    assert (code, errors) == (2, "glus: There is no server format for revos; there are mevis and refer_youtube_vos.\n")
