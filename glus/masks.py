"""Masks as bytes: COCO run lengths, PNG files, intersection over union. The only place where masks meet bytes."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from pycocotools import mask as coco

from glus.errors import InputError, plain_words

# what PIL raises for files that are no pictures, or broken ones
UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)
STABILITY_OFFSET = 1.0  # of the thresholds around 0, as published for SAM
LONGEST_NUMBER = 8  # groups of six bits in a run length: 40 bits, far more pixels than a mask has


def encode_rle(mask: np.ndarray) -> str:
    """Encodes a bool mask [H, W] as compressed COCO run lengths (ASCII)."""
    return coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def encode_runs(runs: Sequence[int], height_px: int, width_px: int) -> str:
    """Encodes uncompressed COCO run lengths (background first, down the columns) that add up to the mask's pixels."""
    return coco.frPyObjects({"size": [height_px, width_px], "counts": list(runs)}, height_px, width_px)[
        "counts"
    ].decode("ascii")


def encode_polygons(polygons: Sequence[Sequence[float]], height_px: int, width_px: int) -> str:
    """Encodes the union of COCO polygons, each x, y, x, y ... in pixels, at least three points."""
    parts = coco.frPyObjects([list(polygon) for polygon in polygons], height_px, width_px)
    return coco.merge(parts)["counts"].decode("ascii")


def rle_runs(masks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Reads the runs of compressed COCO strings, all at once.

    The format stores each run as groups of six bits, lowest first (bit 5: more follow; the last one is signed), and
    from the fourth run on the difference to the run before the last. Runs of zeros and ones take turns, zeros first.

    Returns:
        The runs of all masks in pixels, int64 [R]; where each mask's runs begin and, last, R, int64 [masks + 1].

    Raises:
        InputError: a character outside the format, a string that ends inside a number, or a negative run.
    """
    text = "".join(masks)
    groups = np.frombuffer(text.encode("utf-8", errors="surrogatepass"), dtype=np.uint8) - np.uint8(48)
    if groups.max(initial=0) >= 64:
        raise InputError(f"invalid character {text[np.argmax(groups >= 64)]!r} in run lengths")
    ends = np.cumsum([len(counts) for counts in masks], dtype=np.int64)
    if (groups[ends[ends > 0] - 1] >= 32).any():
        raise InputError("run lengths end in the middle of a number")
    last = np.flatnonzero(groups < 32)  # the group that ends each number
    lengths = np.diff(last, prepend=-1)
    longest = int(lengths.max(initial=0))
    if longest > LONGEST_NUMBER:
        raise InputError("run lengths hold a number that is too long")
    runs = (groups[last] & 0x0F).astype(np.int64) - (groups[last] & 0x10)
    for before in range(1, longest):
        longer = np.flatnonzero(lengths > before)
        runs[longer] = runs[longer] << 5 | groups[last[longer] - before] & 0x1F
    begins = np.concatenate(([0], np.searchsorted(last, ends)))
    for begin, end in pairwise(begins.tolist()):
        for start in (begin + 1, begin + 2):  # differences to the run before the last become runs
            np.add.accumulate(runs[start:end:2], out=runs[start:end:2])
    if runs.min(initial=0) < 0:
        raise InputError("run lengths hold a negative run")
    return runs, begins


def rle_pixels(counts: str) -> int:
    """Number of pixels that the runs of a compressed COCO string cover.

    Raises:
        InputError: as for `rle_runs`.
    """
    return int(rle_runs([counts])[0].sum())


def decode_rle(counts: str, height_px: int, width_px: int) -> np.ndarray:
    """Decodes compressed COCO run lengths to a bool mask [H, W], laid out down the columns.

    Not by pycocotools: it decodes runs that end early into uninitialised memory, and takes longer.

    Raises:
        InputError: the runs do not add up to `height_px * width_px` pixels, or as for `rle_runs`.
    """
    runs, _ = rle_runs([counts])
    pixels = int(runs.sum())
    if pixels != height_px * width_px:
        raise InputError(f"runs add up to {pixels} pixels, expected {height_px} x {width_px} = {height_px * width_px}")
    is_object = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_object, runs).reshape(width_px, height_px).T


def rle_area(counts: str, height_px: int, width_px: int) -> int:
    """Number of true pixels of a run-length mask."""
    return int(coco.area({"size": [height_px, width_px], "counts": counts.encode("ascii")}))


def rle_intersection_px(first: str, second: str, height_px: int, width_px: int) -> int:
    """Number of pixels that two run-length masks of one size share, counted without decoding them.

    Not by pycocotools: its `merge` ends where both masks have a run of length 0 at the same place.

    Raises:
        InputError: runs that do not add up to `height_px * width_px` pixels, or as for `rle_runs`.
    """
    ends = [np.cumsum(rle_runs([counts])[0]) for counts in (first, second)]
    for mask in ends:
        if mask[-1:].sum() != height_px * width_px:
            raise InputError(f"runs add up to {mask[-1:].sum()} pixels, expected {height_px} x {width_px}")
    stops = np.unique(np.concatenate(ends))
    shared = np.logical_and(*(np.searchsorted(mask, stops - 1, side="right") % 2 == 1 for mask in ends))
    return int(np.diff(stops, prepend=0)[shared].sum())


def union(masks: Iterable[np.ndarray], height_px: int, width_px: int) -> np.ndarray:
    """Union of bool masks [H, W], laid out down the columns as they come; all false where there is none."""
    result = np.zeros((height_px, width_px), dtype=bool, order="F")
    for mask in masks:
        result |= mask
    return result


def iou(prediction: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of two bool masks [H, W], 0..1; two empty masks give 1, as J does."""
    joined = np.count_nonzero(prediction | target)
    return np.count_nonzero(prediction & target) / joined if joined else 1.0


def stability(logits: np.ndarray) -> float:
    """How little a mask changes between the thresholds -1 and 1: the IoU of both masks, as SAM ranks masks.

    Args:
        logits: float [h, w]; NaN where there is no mask, which counts as 0.
    """
    outer = np.count_nonzero(logits > -STABILITY_OFFSET)
    if not outer:
        return 0.0 if np.isnan(logits).any() else 1.0
    return float(np.count_nonzero(logits > STABILITY_OFFSET) / outer)


def read_index_png(path: Path) -> np.ndarray:
    """Reads an indexed or 8-bit grey PNG as object numbers, uint8 [H, W], upright, without converting colours.

    Raises:
        InputError: the file is empty, damaged, or a colour picture.
    """
    try:
        content = path.read_bytes()
        if not content:
            raise InputError(f"{path} is empty (0 bytes)")
        with Image.open(io.BytesIO(content)) as image:
            image.verify()  # checksums, which decoding does not look at
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.info:  # else there is no orientation to look for, which takes a tenth of the time
                ImageOps.exif_transpose(image, in_place=True)  # as viewers show it
            mode, pixels = image.mode, np.asarray(image)
    except UNDECODABLE as error:
        raise InputError(f"{path} cannot be decoded: {plain_words(error)}") from error
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


def mean_logit(logits: np.ndarray) -> float | None:
    """How sure a mask is: the mean of its logits above 0, float [h, w]; None where there are none."""
    positive = logits[logits > 0]
    return float(positive.mean()) if positive.size else None
