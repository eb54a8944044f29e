"""Run lengths: the pixels they cover, what is refused before pycocotools sees it, and intersections."""

import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import ExifTags, Image
from pycocotools import mask as coco

from glus.errors import InputError
from glus.masks import (
    decode_rle,
    encode_rle,
    encode_runs,
    read_index_png,
    rle_area,
    rle_intersection_px,
    rle_pixels,
    rle_runs,
    stability,
)

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(masks)
def test_round_trip(mask: np.ndarray) -> None:
    counts = encode_rle(mask)
    assert rle_pixels(counts) == mask.size
    assert (decode_rle(counts, *mask.shape) == mask).all()
    assert rle_area(counts, *mask.shape) == mask.sum()


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_pixels_of_runs_of_any_length(runs: list[int]) -> None:
    counts = coco.frPyObjects({"size": [sum(runs), 1], "counts": runs}, sum(runs), 1)["counts"].decode()
    assert rle_pixels(counts) == sum(runs)


@given(st.lists(masks, max_size=6))
def test_many_are_read_as_one_by_one(many: list[np.ndarray]) -> None:
    counts = [encode_rle(mask) for mask in many]
    runs, begins = rle_runs(counts)
    assert [runs[begin:end].tolist() for begin, end in pairwise(begins)] == [
        rle_runs([one])[0].tolist() for one in counts
    ]
    for mask, begin, end in zip(many, begins[:-1], begins[1:], strict=True):
        plain = np.diff(np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False)), prepend=0, append=mask.size)
        assert runs[begin:end].tolist() == plain.tolist()


def test_a_number_does_not_go_on_in_the_next_mask() -> None:
    assert rle_runs(["0Q1"])[0].tolist() == [0, 1 + (1 << 5)]
    with pytest.raises(InputError, match="end in the middle of a number"):
        rle_runs(["0Q", "1"])


@given(st.text(st.characters(min_codepoint=48, max_codepoint=112), max_size=12))
def test_whatever_is_accepted_is_decoded_as_by_pycocotools(counts: str) -> None:
    try:
        pixels = rle_pixels(counts)
    except InputError:
        return
    if 0 < pixels < 1 << 20:
        reference = coco.decode({"size": [pixels, 1], "counts": counts.encode()})
        assert (decode_rle(counts, pixels, 1) == reference).all()


@given(masks, st.data())
def test_intersection_without_decoding(mask: np.ndarray, data: st.DataObject) -> None:
    other = data.draw(hnp.arrays(bool, mask.shape))
    assert rle_intersection_px(encode_rle(mask), encode_rle(other), *mask.shape) == (mask & other).sum()


def split_runs(counts: list[int]) -> str:
    """Compressed run lengths that are kept as they are, runs of length 0 included."""
    return encode_runs(counts, 1, sum(counts))


def test_intersection_where_both_have_a_run_of_no_length_at_the_same_place() -> None:
    """pycocotools' `merge` stops there."""
    first, second = split_runs([2, 3, 0, 4, 20, 15]), split_runs([0, 5, 0, 4, 20, 15])
    expected = (decode_rle(first, 1, 44) & decode_rle(second, 1, 44)).sum()
    assert rle_intersection_px(first, second, 1, 44) == expected == 22


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_intersection_with_runs_of_no_length(first: list[int], second: list[int]) -> None:
    pixels = max(sum(first), sum(second)) + 1
    one, other = (split_runs([*runs, pixels - sum(runs)]) for runs in (first, second))
    expected = (decode_rle(one, 1, pixels) & decode_rle(other, 1, pixels)).sum()
    assert rle_intersection_px(one, other, 1, pixels) == expected


def test_intersection_of_runs_that_end_early_is_refused() -> None:
    with pytest.raises(InputError, match="runs add up to 5 pixels, expected 2 x 3"):
        rle_intersection_px("05", "06", 2, 3)


@given(st.lists(masks, max_size=5))
def test_runs_of_many_masks_at_once(several: list[np.ndarray]) -> None:
    runs, begins = rle_runs([encode_rle(mask) for mask in several])
    assert len(begins) == len(several) + 1
    for mask, begin, end in zip(several, begins[:-1], begins[1:], strict=True):
        pixels = np.repeat(np.arange(end - begin) % 2 == 1, runs[begin:end])
        assert (pixels.reshape(mask.shape, order="F") == mask).all()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ("1 2", "invalid character ' '"),
        ("11é", "invalid character 'é'"),
        ("0P", "end in the middle of a number"),
        ("O", "negative run"),
        ("P" * 9 + "0", "a number that is too long"),
        ("4", "add up to 4 pixels, expected 2 x 3 = 6"),
        ("", "add up to 0 pixels"),
    ],
)
def test_refuses_broken_run_lengths(counts: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode_rle(counts, 2, 3)


def test_flipped_bits_are_damage(tmp_path: Path) -> None:
    """Decoding a PNG does not look at its checksums: one flipped bit is another mask."""
    path = tmp_path / "mask.png"
    mask = np.random.default_rng(0).integers(0, 3, (16, 16), np.uint8)
    Image.fromarray(mask).save(path)
    content = path.read_bytes()
    assert np.array_equal(read_index_png(path), mask)
    for place in range(content.index(b"IDAT") + 6, len(content) - 12, 5):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(InputError, match=r"mask\.png cannot be decoded"):
            read_index_png(path)


def test_a_mask_is_turned_as_its_file_says(tmp_path: Path) -> None:
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    orientation = Image.Exif()
    orientation[ExifTags.Base.Orientation] = 6  # shown after a quarter turn clockwise
    Image.fromarray(mask).save(tmp_path / "mask.png", exif=orientation)
    assert read_index_png(tmp_path / "mask.png").tolist() == [[3, 0], [4, 1], [5, 2]]


def test_a_picture_with_a_broken_chunk_is_named(tmp_path: Path) -> None:
    """PIL raises a ValueError for it."""
    path = tmp_path / "mask.png"
    Image.new("L", (4, 4)).save(path)
    content = path.read_bytes()
    chunk = b"pHYs\0"
    broken = content[:33] + struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]
    path.write_bytes(broken)
    with pytest.raises(InputError, match=r"mask\.png cannot be decoded"):
        read_index_png(path)


def test_stability_is_the_iou_of_the_masks_at_both_thresholds() -> None:
    logits = np.array([[2.0, 0.5, -0.5], [3.0, -2.0, 1.0]])  # above 1: 2 of them; above -1: 5
    assert stability(logits) == pytest.approx(2 / 5)
    assert stability(np.full((2, 2), -3.0)) == 1.0  # surely nothing
    assert stability(np.full((2, 2), np.nan)) == 0.0  # no answer
