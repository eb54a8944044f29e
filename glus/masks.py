"""Masks as bytes: COCO run lengths, PNG files, intersection over union. The only place where masks meet bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from glus.errors import InputError

MORE_FOLLOW = 0x20  # bit of a group of six in run lengths
LONGEST_NUMBER = 8  # groups of six bits in a run length: 40 bits, far more pixels than a mask has


def encode_rle(mask: np.ndarray) -> str:
    """Encodes a bool mask [H, W] as compressed COCO run lengths (ASCII)."""
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def rle_runs(masks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the runs of compressed COCO strings, all at once.

    The format stores each run as groups of six bits (bit 5: more follow), and from the fourth run on the difference
    to the run before the last. Runs of zeros and ones take turns, zeros first.

    Returns:
        The runs of all masks in pixels, int64 [R]; where each mask's runs begin and, last, R, int64 [masks + 1].

    Raises:
        InputError: a character outside the format, a string that ends inside a number, or a negative run.
    """
    text = "".join(masks)
    groups = np.frombuffer(text.encode("utf-8", errors="surrogatepass"), dtype=np.uint8) - 48
    if groups.max(initial=0) >= 64:
        raise InputError(f"invalid character {text[np.argmax(groups >= 64)]!r} in run lengths")
    ends = np.cumsum([len(counts) for counts in masks], dtype=np.int64)
    is_last = groups < MORE_FOLLOW  # the group that ends each number
    if not is_last[ends[ends > 0] - 1].all():
        raise InputError("run lengths end in the middle of a number")
    last = np.flatnonzero(is_last)
    runs = _read_numbers(groups, last)
    begins = np.concatenate(([0], np.searchsorted(last, ends)))
    for begin, end in pairwise(begins.tolist()):
        for start in (begin + 1, begin + 2):  # differences to the run before the last become runs
            np.add.accumulate(runs[start:end:2], out=runs[start:end:2])
    if runs.min(initial=0) < 0:
        raise InputError("run lengths hold a negative run")
    return runs, begins


def _read_numbers(groups: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Numbers by their last groups, int64: five bits a group, the lowest first; bit 4 of the last group is the sign."""
    first = np.concatenate(([0], last[:-1] + 1))[: len(last)]
    lengths = last - first
    lengths += 1
    if lengths.max(initial=0) > LONGEST_NUMBER:
        raise InputError("run lengths hold a number that is too long")
    pairs = groups.astype(np.uint16)
    pairs[:-1] |= pairs[1:] << 6
    numbers = _SHORT_NUMBERS[pairs[first]]
    longer = np.flatnonzero(lengths > 2)
    numbers[longer] = _read_long_numbers(groups, first[longer], lengths[longer])
    return numbers


def _read_long_numbers(groups: np.ndarray, first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    numbers = np.where(groups[first + lengths - 1] & 0x10, np.int64(-1) << (5 * lengths), 0)
    for place in range(lengths.max(initial=0)):
        has_place = lengths > place
        numbers[has_place] |= (groups[first[has_place] + place] & 0x1F).astype(np.int64) << (5 * place)
    return numbers


def _short_numbers() -> np.ndarray:
    """The value of a number of one or two groups, which nearly all are, by its group and, times 64, the next one."""
    low, high = np.tile(np.arange(64), 64), np.repeat(np.arange(64), 64)
    one = low - np.where(low & 0x10, 32, 0)
    two = (low & 0x1F) | (high << 5)
    two -= np.where(high & 0x10, 1024, 0)
    return np.where(low < MORE_FOLLOW, one, two)


_SHORT_NUMBERS = _short_numbers()


def rle_pixels(counts: str) -> int:
    """Number of pixels that the runs of a compressed COCO string cover.

    pycocotools decodes runs that end early into uninitialised memory, so the sum is to be checked
    before decoding.

    Raises:
        InputError: a character outside the format, or a string that ends inside a number.
    """
    return int(rle_runs([counts])[0].sum())


def decode_rle(counts: str, height_px: int, width_px: int) -> np.ndarray:
    """Decodes compressed COCO run lengths to a bool mask [H, W].

    Raises:
        InputError: the runs do not add up to `height_px * width_px` pixels.
    """
    pixels = rle_pixels(counts)
    if pixels != height_px * width_px:
        raise InputError(f"runs add up to {pixels} pixels, expected {height_px} x {width_px} = {height_px * width_px}")
    return coco.decode({"size": [height_px, width_px], "counts": counts.encode("ascii")}).astype(bool)


def rle_area(counts: str, height_px: int, width_px: int) -> int:
    """Number of true pixels of a run-length mask."""
    return int(coco.area({"size": [height_px, width_px], "counts": counts.encode("ascii")}))


def rle_intersection_px(first: str, second: str, height_px: int, width_px: int) -> int:
    """Number of pixels that two run-length masks of one size share, counted without decoding them."""
    both = [{"size": [height_px, width_px], "counts": counts.encode("ascii")} for counts in (first, second)]
    return int(coco.area(coco.merge(both, intersect=True)))


def union(masks: Iterable[np.ndarray], height_px: int, width_px: int) -> np.ndarray:
    """Union of bool masks [H, W]; all false where there is none."""
    result = np.zeros((height_px, width_px), dtype=bool)
    for mask in masks:
        result |= mask
    return result


def iou(prediction: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of two bool masks [H, W], 0..1; two empty masks give 1, as J does."""
    joined = np.count_nonzero(prediction | target)
    return np.count_nonzero(prediction & target) / joined if joined else 1.0


def read_index_png(path: Path) -> np.ndarray:
    """Reads an indexed or 8-bit grey PNG as object numbers, uint8 [H, W], without converting colours.

    Raises:
        InputError: the file is empty, unreadable, or a colour picture.
    """
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes)")
    try:
        with Image.open(path) as image:
            image.load()
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be decoded: {error}") from error
    if mode == "1":
        return pixels.astype(np.uint8)
    if mode not in ("P", "L"):
        raise InputError(
            f"{path} is an {mode} picture, an indexed (palette) or 8-bit grey PNG with object numbers is needed"
        )
    return pixels


def write_mask_png(mask: np.ndarray, path: Path) -> None:
    """Writes a bool mask [H, W] as an 8-bit grey PNG with the values 0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mask_png(mask))


def encode_mask_png(mask: np.ndarray) -> bytes:
    """The bytes of a bool mask [H, W] as an 8-bit grey PNG with the values 0 and 255."""
    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()
