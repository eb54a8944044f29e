"""Faults of frames and of PNG masks: what decodes halfway, has other sizes or means other things."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from raw_sets import HEIGHT, LEFT, RIGHT, WIDTH, areas_of, faults_of, write_mevis, write_pngs, write_youtube

FRAME = "train/JPEGImages/aaa/00010.jpg"
MASK = "train/Annotations/aaa/00010.png"
SIZE = (WIDTH, HEIGHT)


@pytest.fixture
def mevis(tmp_path: Path) -> Path:
    write_mevis(tmp_path)
    return tmp_path


@pytest.fixture
def youtube(tmp_path: Path) -> Path:
    """The sound split, with a sentence for each object that its masks show."""
    write_youtube(tmp_path)
    return tmp_path


def picture(mode: str, kind: str = "JPEG", size: tuple[int, int] = SIZE) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, 1).save(stream, kind)
    return stream.getvalue()


def animation(kind: str) -> bytes:
    stream = io.BytesIO()
    pictures = [Image.new("RGB", SIZE, (40 * number, 0, 0)) for number in range(3)]
    pictures[0].save(stream, kind, save_all=True, append_images=pictures[1:])
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"no picture", "cannot be decoded completely"),
        (picture("RGB")[:300], "truncated"),
        (picture("RGB")[:-1], "truncated"),
        (picture("CMYK"), "is a picture of mode CMYK, expected RGB"),
        (picture("I;16", "PNG"), "is a picture of mode I;16, expected RGB"),
        (picture("RGBA", "PNG"), "is a picture of mode RGBA, expected RGB"),
        (animation("WEBP"), "is an animation of 3 pictures"),
        (picture("RGB", size=(WIDTH, HEIGHT - 8)), "frame is 48x24, the frames before it are 48x32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_that_cannot_be_used(mevis: Path, content: bytes, said: str) -> None:
    (mevis / FRAME).write_bytes(content)
    (fault,) = faults_of("mevis", mevis)
    assert (fault.severity, fault.file, fault.record) == ("error", FRAME, "video aaa, frame 00010")
    assert said in fault.problem


@pytest.mark.parametrize(("mode", "kind"), [("L", "JPEG"), ("RGB", "PNG")])
def test_frames_of_another_kind_that_are_read_all_the_same(mevis: Path, mode: str, kind: str) -> None:
    (mevis / FRAME).write_bytes(picture(mode, kind))
    (fault,) = faults_of("mevis", mevis)
    assert fault.severity == "warning"
    assert f"1 frames of aaa are {kind} {mode} pictures, expected JPEG RGB, such as 00010.jpg" in fault.problem


def test_masks_lie_on_frames_as_they_are_shown(youtube: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    for path in (youtube / "train/JPEGImages/aaa").iterdir():
        Image.new("RGB", (HEIGHT, WIDTH)).save(path, exif=exif)
    (fault,) = faults_of("refer_youtube_vos", youtube)
    assert fault.severity == "warning" and "are stored turned (EXIF orientation), such as 00000.jpg" in fault.problem
    Image.new("L", (HEIGHT, WIDTH)).save(youtube / MASK)
    (fault,) = [fault for fault in faults_of("refer_youtube_vos", youtube) if fault.severity == "error"]
    assert "00010.png is 32x48 while the frame is 48x32, shown as its file says, turned" in fault.problem


@pytest.mark.parametrize("other", ["00010.png", "00010.JPG", "00010.jpeg"])
def test_a_frame_under_another_name_is_pointed_at(mevis: Path, other: str) -> None:
    (mevis / FRAME).rename((mevis / FRAME).with_name(other))
    (fault,) = faults_of("mevis", mevis)
    assert f"{FRAME} does not exist; {other} is there" in fault.problem


@pytest.mark.parametrize("other", ["00020.jpg", "00010.png", "cover.JPEG"])
def test_frames_that_no_list_names_are_told(mevis: Path, other: str) -> None:
    (mevis / FRAME).with_name(other).write_bytes((mevis / FRAME).read_bytes())
    (mevis / FRAME).with_name("._00010.jpg").write_bytes(b"Mac OS X")
    (fault,) = faults_of("mevis", mevis)
    said = f"holds 1 frames that train/meta_expressions.json does not list, such as {other}"
    assert fault.severity == "warning" and said in fault.problem


def test_a_folder_in_place_of_a_frame_does_not_exist_as_one(mevis: Path) -> None:
    (mevis / FRAME).unlink()
    (mevis / FRAME).mkdir()
    (fault,) = faults_of("mevis", mevis)
    assert fault.file == FRAME


def png(mode: str, size: tuple[int, int] = SIZE) -> bytes:
    return picture(mode, "PNG", size)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes)"),
        (b"no picture", "cannot be decoded"),
        (png("L")[:60], "cannot be decoded"),
        (png("RGB"), "is an RGB picture"),
        (png("RGBA"), "is an RGBA picture"),
        (png("I;16"), "is an I;16 picture"),
        (png("L", (WIDTH, HEIGHT - 8)), f"{MASK} is 48x24 while the frame is 48x32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_masks_that_cannot_be_used(youtube: Path, content: bytes, said: str) -> None:
    (youtube / MASK).write_bytes(content)
    (fault,) = faults_of("refer_youtube_vos", youtube)
    assert (fault.severity, fault.file, fault.record) == ("error", MASK, "video aaa, frame 00010")
    assert said in fault.problem


def test_a_mask_under_another_name_is_pointed_at(youtube: Path) -> None:
    (youtube / MASK).rename((youtube / MASK).with_suffix(".PNG"))
    found = [fault for fault in faults_of("refer_youtube_vos", youtube) if fault.severity == "error"]
    assert [fault.file for fault in found] == [MASK]
    assert "00010.PNG is there" in found[0].problem


def test_masks_of_frames_that_are_not_listed_are_told(youtube: Path) -> None:
    write_pngs(youtube / "train/Annotations/aaa", {"00020": LEFT * 1})
    (fault,) = faults_of("refer_youtube_vos", youtube)
    assert (fault.severity, fault.file) == ("warning", "train/Annotations/aaa")
    assert "masks of 1 frames that are not listed, such as 00020.png" in fault.problem


@pytest.mark.parametrize("mode", ["P", "L"])
def test_indices_are_read_raw_and_void_is_no_object(youtube: Path, mode: str) -> None:
    pixels = (LEFT * 1 + RIGHT * 2).astype(np.uint8)
    pixels[-1] = 255
    image = Image.fromarray(pixels, mode=mode)
    if mode == "P":
        image.putpalette([255 - value for value in range(256) for _ in range(3)])
    image.save(youtube / MASK)
    assert areas_of("refer_youtube_vos", youtube)["aaa", "1", 2] == LEFT.sum()


damage = st.tuples(st.integers(0, 2**31), st.integers(1, 40), st.integers(0, 255))


@pytest.mark.parametrize(
    ("write", "dataset", "file"), [(write_mevis, "mevis", FRAME), (write_youtube, "refer_youtube_vos", MASK)]
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=damage, cut=st.booleans())
def test_damaged_files_are_faults_and_nothing_else(
    tmp_path: Path,
    write: Callable[..., None],
    dataset: str,
    file: str,
    damage: tuple[int, int, int],
    cut: bool,
) -> None:
    """Whatever bytes stand in a picture: faults that name its video, never an exception, never half a picture."""
    if not (tmp_path / file).is_file():
        write(tmp_path)
        (tmp_path / "sound").write_bytes((tmp_path / file).read_bytes())
    content = bytearray((tmp_path / "sound").read_bytes())
    start, length, value = damage
    start %= len(content)
    content[start:] = content[start:][:0] if cut else bytes([value]) * length + content[start + length :]
    (tmp_path / file).write_bytes(content)
    found = faults_of(dataset, tmp_path)
    assert all("aaa" in fault.record for fault in found)
    if cut and not found:  # only what follows the pixels is gone
        with Image.open(tmp_path / "sound") as sound, Image.open(tmp_path / file) as damaged:
            assert (np.asarray(sound) == np.asarray(damaged)).all()
