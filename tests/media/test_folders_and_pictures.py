"""Folders, pictures and images in memory: their order, what is left out, how each is shown."""

import io
from pathlib import Path

import numpy as np
import pytest
from drawn_films import HEIGHT, NUM_FRAMES, WIDTH, draw, numbers_of, write_folder
from PIL import Image

from glus.errors import InputError
from glus.media.folders import in_order
from glus.media.pictures import read_frame
from glus.media.sources import open_frames

TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


@pytest.mark.parametrize(
    "pattern",
    ["{}.png", "frame{}.jpg", "{:05d}.jpg", "v2_cam1_{}.png", "{}_left.bmp", "2024-05-{}.webp", "f{:03d}.JPG"],
)
@pytest.mark.parametrize("first", [0, 95])
def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path, pattern: str, first: int) -> None:
    names = [pattern.format(first + number) for number in range(NUM_FRAMES)]
    source = open_frames(write_folder(tmp_path / "clip", names))
    assert numbers_of(source) == list(range(NUM_FRAMES))
    assert source.frame_names == tuple(Path(name).stem for name in names)
    assert source.times_s is None and source.rate is None and not source.has_sound


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["00000.jpg", "00001.jpg", "cover.jpg"], "00000.jpg; 00001.jpg beside cover.jpg"),
        (["00000.jpg", "00001.jpg", "00001_mask.png"], "beside 00001_mask.png"),
        (["a1.jpg", "a2.jpg", "b3.jpg"], "beside b3.jpg"),
        (["1.jpg", "01.jpg", "2.jpg"], "two pictures of one number: 01.jpg; 1.jpg"),
        (["1.jpg", "1.png"], "two pictures of one number: 1.jpg; 1.png"),
        (["a.jpg", "b.jpg"], "their order is not known"),
    ],
)
def test_orders_that_are_not_known_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        in_order("clip", names)


def test_what_is_left_out_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "clip", [f"{number}.jpg" for number in range(NUM_FRAMES)])
    for name in ("._3.jpg", ".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "masks").mkdir()
    source = open_frames(folder)
    assert numbers_of(source) == list(range(NUM_FRAMES))
    assert "3 left out (hidden): .DS_Store; ._3.jpg; Thumbs.db" in caplog.text
    assert "2 left out (no pictures): masks; notes.txt" in caplog.text


def test_folders_without_frames_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds no pictures .*found notes\.txt"):
        open_frames(tmp_path)


@pytest.mark.parametrize("number", TURNED)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_pictures_are_turned_as_exif_says(tmp_path: Path, number: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = number
    draw(7).transpose(TURNED[number]).save(tmp_path / f"7.{suffix}", exif=exif, quality=95)
    picture = read_frame(tmp_path / f"7.{suffix}")
    assert picture.size == (WIDTH, HEIGHT)
    assert np.abs(np.asarray(picture).astype(int) - np.asarray(draw(7))).mean() < 4
    with Image.open(tmp_path / f"7.{suffix}") as image:
        assert open_frames([image]).size == (WIDTH, HEIGHT)
    assert open_frames(tmp_path / f"7.{suffix}").size == (WIDTH, HEIGHT)


def test_exif_that_cannot_be_read_turns_nothing(tmp_path: Path) -> None:
    draw(7).save(tmp_path / "7.jpg", exif=b"Exif\0\0nothing of the kind")
    assert numbers_of([read_frame(tmp_path / "7.jpg")]) == [7]


def seen_through() -> Image.Image:
    picture = draw(0).convert("RGBA")
    picture.putpixel((3, 3), (0, 0, 0, 254))
    return picture


@pytest.mark.parametrize(
    ("picture", "kind", "said"),
    [
        (Image.fromarray(np.full((HEIGHT, WIDTH), 40_000, np.uint16)), "PNG", "of mode I;16, expected RGB"),
        (draw(0).convert("CMYK"), "JPEG", "of mode CMYK, expected RGB"),
        (seen_through(), "PNG", "of mode RGBA, .* can be seen through"),
    ],
)
def test_modes_that_rgb_cannot_hold_are_refused_in_files_and_in_memory(
    tmp_path: Path, picture: Image.Image, kind: str, said: str
) -> None:
    picture.save(tmp_path / "00000.png", kind)
    for frames in (tmp_path, tmp_path / "00000.png", [picture]):
        with pytest.raises(InputError, match=said):
            open_frames(frames)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "1", "LA"])
def test_modes_that_rgb_can_hold_are_read(tmp_path: Path, mode: str) -> None:
    picture = draw(4).convert(mode)
    picture.save(tmp_path / "4.png")
    expected = np.asarray(picture.convert("RGB"))
    assert (np.asarray(read_frame(tmp_path / "4.png")) == expected).all()
    assert (np.asarray(open_frames([picture])[0]) == expected).all()


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_broken_picture_is_named_before_any_work(tmp_path: Path, share: float) -> None:
    folder = write_folder(tmp_path / "clip", [f"{number}.jpg" for number in range(NUM_FRAMES)])
    content = (folder / "7.jpg").read_bytes()
    (folder / "7.jpg").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"7\.jpg"):
        open_frames(folder)


def test_sizes_and_animations(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "clip", ["0.png", "1.png", "2.png"])
    draw(2, (48, 32)).save(folder / "2.png")
    with pytest.raises(InputError, match=r"2\.png is 48x32, the frames before it are 96x64"):
        open_frames(folder)
    draw(2).save(folder / "2.png", save_all=True, append_images=[draw(3)])
    with pytest.raises(InputError, match="animation of 2 pictures"):
        open_frames(folder)


def test_images_in_memory() -> None:
    pixels = np.stack([np.asarray(draw(number)) for number in range(3)])
    for frames in (pixels, [draw(number) for number in range(3)]):
        source = open_frames(frames)
        assert numbers_of(source) == [0, 1, 2] and open_frames(source) is source
        assert source.frame_names == ("00000", "00001", "00002")
        assert numbers_of(source[1:]) == [1, 2]
    for frames, said in (
        ([], "no frames"),
        (pixels.astype(np.float32), "found float32"),
        (pixels[0], "expected uint8"),
        (list(pixels), "number 0 is a ndarray, expected PIL images"),
        (None, "found NoneType, expected PIL images"),
    ):
        with pytest.raises(InputError, match=said):
            open_frames(frames)
    with pytest.raises(ValueError, match="forwards"):
        open_frames(pixels)[::-1]


def test_a_picture_behind_another_one_is_not_read(tmp_path: Path) -> None:
    """Two pictures in one JPEG (MPO), as phones write them: the first is the picture."""
    stream = io.BytesIO()
    draw(5).save(stream, "MPO", save_all=True, append_images=[draw(6)])
    (tmp_path / "5.jpg").write_bytes(stream.getvalue())
    assert numbers_of(open_frames(tmp_path)) == [5]


def test_a_flipped_bit_in_a_png_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    draw(3).save(path)
    content = bytearray(path.read_bytes())
    content[-22] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"frame\.png cannot be decoded completely"):
        read_frame(path)
