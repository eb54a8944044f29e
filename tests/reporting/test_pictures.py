"""Overlays, strips and videos, read back pixel by pixel."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image
from scipy.ndimage import binary_erosion

from glus.media.sources import open_frames
from glus.reporting import write_overlay_video
from glus.reporting.cards import shown_frames
from glus.reporting.overlays import StripRow, draw_strip, font, overlay, wrap
from glus.reporting.palette import COLOURS, INK, PAPER
from glus.reporting.short_films import MOST_FRAMES, film_frames, write_short_film

FRAME = np.full((40, 60, 3), 100, dtype=np.uint8)
MASK = np.zeros((40, 60), dtype=bool)
MASK[10:30, 10:30] = True


def test_a_text_is_written_in_a_font_that_has_its_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A font of the system where ours lacks a letter; where none has it, that is said."""
    fonts = Path(matplotlib.get_data_path()) / "fonts/ttf"
    monkeypatch.setattr(
        font_manager, "findSystemFonts", lambda: [str(tmp_path / "none.ttf"), str(fonts / "DejaVuSerif.ttf")]
    )
    letter = "\u02ef"  # DejaVu Serif has it, DejaVu Sans does not
    assert font(20, text="the dog, собака").path == str(fonts / "DejaVuSans.ttf")
    assert font(20, text=letter).path == str(fonts / "DejaVuSerif.ttf")
    assert not caplog.text
    assert font(20, text="红").path == str(fonts / "DejaVuSans.ttf")
    assert "no font of this system has 红: drawn as boxes" in caplog.text


def test_overlay_tints_inside_outlines_the_edge_and_leaves_the_rest() -> None:
    pixels = np.asarray(overlay(FRAME, [MASK], [(255, 0, 0)]))
    assert (pixels[~MASK] == 100).all()
    assert pixels[10, 20].tolist() == pixels[29, 29].tolist() == [255, 0, 0]
    red, green, _ = pixels[20, 20].tolist()
    assert 100 < red < 255 and 0 < green < 100


def test_a_short_film_shows_each_frame_with_its_sides(tmp_path: Path) -> None:
    frames = [np.full((30, 40, 3), 60 * number, dtype=np.uint8) for number in range(4)]
    masks = np.zeros((4, 30, 40), dtype=bool)
    masks[2, 5:25, 5:35] = True
    write_short_film(frames, [(masks, (255, 0, 0)), (~masks, (0, 0, 255))], tmp_path / "film.webp")
    with Image.open(tmp_path / "film.webp") as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (4, (488, 180), 0)
        film.seek(2)
        shown = np.asarray(film.convert("RGB")).astype(int)
    left, right = shown[90, 120], shown[90, 368]
    assert left[0] > left[2] + 20 and abs(right - 120).max() < 15  # tinted where the mask is, and nowhere else
    assert abs(shown[5, 5] - 120).max() < 15 and shown[5, 253][2] > shown[5, 253][0] + 20
    assert film_frames(1) == [0] and film_frames(5) == [0, 1, 2, 3, 4]
    assert len(film_frames(500)) == MOST_FRAMES and (film_frames(500)[0], film_frames(500)[-1]) == (0, 499)


@pytest.mark.parametrize("width", [40, 640, 1200])
def test_the_outline_is_what_erosion_takes_away(width: int) -> None:
    """Of shapes that lie apart, have holes and touch the sides; 1, 8 and 15 pixels wide."""
    coarse = np.random.default_rng(0).random((9, 12)) < 0.6
    mask = np.asarray(Image.fromarray(coarse).resize((width, 3 * width // 4)))
    frame = np.full((*mask.shape, 3), 100, dtype=np.uint8)
    outlined = (np.asarray(overlay(frame, [mask], [(255, 0, 0)])) == (255, 0, 0)).all(axis=-1)
    inner = binary_erosion(mask, iterations=max(1, round(width / 80)), border_value=1)
    np.testing.assert_array_equal(outlined, mask & ~inner)


def test_overlay_can_be_enlarged_and_keeps_the_place_of_the_mask() -> None:
    pixels = np.asarray(overlay(FRAME, [MASK], [(255, 0, 0)], width_px=240)).astype(int)
    changed = (pixels != 100).any(axis=-1)
    assert pixels.shape == (160, 240, 3)
    assert np.argwhere(changed).min(axis=0) == pytest.approx([40, 40], abs=1)
    assert np.argwhere(changed).max(axis=0) == pytest.approx([119, 119], abs=1)


def test_strip_has_a_tile_for_every_frame_and_row_and_marks_the_key_frame() -> None:
    rows = [StripRow(label, np.stack([MASK] * 3), COLOURS[0], ["a", "b", "c"]) for label in ("truth", "prediction")]
    strip = np.asarray(draw_strip([FRAME] * 3, rows, "the quick one", marked=1)).astype(int)
    grey = (strip == 100).all(axis=-1).astype(int)
    for row in (66, 66 + 133 + 24 + 8):  # through the masks of the first and the second row
        assert (np.diff(grey[row]) == 1).sum() == 3 * 2  # frame on both sides of each mask
    framed = np.argwhere((strip == COLOURS[2]).all(axis=-1))
    assert framed[:, 0].max() < 133 + 24 and 108 + 200 <= framed[:, 1].min() < 108 + 208 + 4  # first row, second tile
    assert (strip[-34:] == INK).all(axis=-1).any()  # the expression
    assert (strip[-1, :20] == PAPER).all()


@pytest.mark.parametrize(
    ("num_frames", "key_frame", "shown"),
    [
        (12, None, [0, 2, 4, 7, 9, 11]),
        (12, 5, [0, 2, 5, 7, 9, 11]),
        (3, 1, [0, 1, 2]),
        (1, 0, [0]),
    ],
)
def test_shown_frames_are_spread_and_hold_the_key_frame(
    num_frames: int, key_frame: int | None, shown: list[int]
) -> None:
    assert shown_frames(num_frames, key_frame) == shown


def test_wrap_fits_and_loses_no_word() -> None:
    text = "the large yellow triangle that moves left behind the others " * 3
    lines = wrap(text, font(16), 200)
    assert " ".join(lines).split() == text.split()
    assert all(font(16).getlength(line) <= 200 for line in lines)


@pytest.mark.parametrize("size", [(320, 180), (121, 91)])
def test_video_is_read_back_with_its_size_times_and_masks(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    frames = np.stack([np.full((height, width, 3), 60 + 10 * index, dtype=np.uint8) for index in range(5)])
    masks = np.zeros((2, 5, height, width), dtype=bool)
    masks[0, :, 20:50, 10:50] = True
    masks[1, 3:, 20:50, 70:110] = True
    path, times = tmp_path / "out" / "overlay.mp4", [0.0, 0.04, 0.54, 0.58, 1.0]
    texts = ["the left one", "the right one"]
    write_overlay_video(frames, masks, texts, path, times_s=times, end_s=1.5)
    source = open_frames(path)
    assert source.size == size and source.times_s == pytest.approx(times, abs=1e-4) and source.end_s == 1.5
    shown = [np.asarray(picture).astype(int) for picture in source]
    left, right = (35, 30), (35, 90)  # y, x
    assert (shown[0][left] - shown[0][right])[0] > 30  # the left object is tinted, the right one is not yet
    assert shown[4][right][2] > shown[4][5, 60][2] + 20  # now it is, in its own colour
    assert (shown[0][-4, -4].min() > 150) == (size == (320, 180))  # sentences where there is room for them
    assert not list(path.parent.glob(".*"))


def test_video_without_a_clock_has_ten_frames_per_second(tmp_path: Path) -> None:
    write_overlay_video(FRAME[None].repeat(5, 0), MASK[None, None].repeat(5, 1), ["one"], tmp_path / "x.mp4")
    source = open_frames(tmp_path / "x.mp4")
    assert source.rate == 10 and source.end_s == 0.5


def test_video_has_the_same_bytes_whatever_memory_held_before(tmp_path: Path) -> None:
    """glibc fills what it gives away with one value; elsewhere this compares two plain runs."""
    script = (
        "import sys, numpy as np; from pathlib import Path; from glus.reporting import write_overlay_video;"
        "frames = np.random.default_rng(0).integers(0, 255, (3, 60, 108, 3), np.uint8).repeat(8, 1).repeat(8, 2);"
        "write_overlay_video(frames, frames[None, ..., 0] > 127, ['one'], Path(sys.argv[1]))"
    )
    for value in ("1", "2"):
        filled = {"MALLOC_PERTURB_": value, "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}
        path = str(tmp_path / f"{value}.mp4")
        subprocess.run([sys.executable, "-c", script, path], env=os.environ | filled, check=True)
    assert (tmp_path / "1.mp4").read_bytes() == (tmp_path / "2.mp4").read_bytes()


def test_video_refuses_what_does_not_fit_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        write_overlay_video(FRAME[None], MASK[None, None], ["one", "two"], tmp_path / "x.mp4")
    assert not list(tmp_path.iterdir())
