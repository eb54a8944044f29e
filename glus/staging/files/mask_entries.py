"""One entry of a mask file (a frame of an annotation) as compressed run lengths, in each form that datasets use.

Nothing is decoded before its run lengths have been summed up: pycocotools decodes runs that end early into
uninitialised memory.
"""

from __future__ import annotations

from typing import Any

from glus.errors import InputError
from glus.masks import decode_rle, encode_polygons, encode_rle, encode_runs, rle_pixels, union
from glus.staging.faults import shown
from glus.staging.files.frames import Size
from glus.staging.files.json_files import key_repeated


def read_entry(entry: Any, size: Size | None) -> str | None:
    """Run lengths of an entry: one RLE, a list of RLE or a list of polygons (both to be united); None where absent.

    Args:
        size: of the frame; None where it is not known, and an RLE can only be held against its own size.

    Raises:
        InputError: what is wrong with it, to be read after "frame 00001 of clipA".
    """
    if entry is None or entry == [] or entry == {}:
        return None
    if isinstance(entry, list) and all(isinstance(part, list) for part in entry):
        return _read_polygons(entry, size)
    parts = [_read_rle(part, size) for part in (entry if isinstance(entry, list) else [entry])]
    if size is None or len(parts) == 1:
        return parts[0]
    return encode_rle(union((decode_rle(part, *size) for part in parts), *size))


def _read_rle(rle: Any, frame: Size | None) -> str:
    if key := key_repeated(rle):
        raise InputError(f"has the key {key!r} more than once")
    counts = rle.get("counts") if isinstance(rle, dict) else None
    if not isinstance(counts, str | list) or not isinstance(rle.get("size"), list):
        raise InputError(
            f"is {shown(rle)}, which holds no compressed run lengths: expected null or {{'size': [height, width],"
            " 'counts': text}"
        )
    size = rle["size"]
    known = f" (the frame is {frame[0]}x{frame[1]})" if frame else ""
    if len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise InputError(f"has size {shown(size)}, expected two whole numbers{known}")
    height, width = size
    if frame and (height, width) != frame:
        raise InputError(f"has size {height}x{width} while the frame is {frame[0]}x{frame[1]}")
    pixels = _pixels(counts)
    if pixels != height * width:
        raise InputError(f"holds an invalid RLE (runs add up to {pixels}, not to {height}*{width} pixels)")
    if isinstance(counts, str):
        return counts
    return encode_runs(counts, height, width) if frame else ""


def _pixels(counts: str | list[Any]) -> int:
    if isinstance(counts, str):
        try:
            return rle_pixels(counts)
        except InputError as problem:
            raise InputError(f"holds an invalid RLE ({problem})") from problem
    if not all(type(run) is int and run >= 0 for run in counts):
        raise InputError("holds an invalid RLE (uncompressed runs that are no whole numbers from 0)")
    return sum(counts)


def _read_polygons(polygons: list[list[Any]], frame: Size | None) -> str:
    far = 2 * max(frame) if frame else float("inf")  # pycocotools walks along every edge, however long
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2 or not all(type(v) in (int, float) and abs(v) <= far for v in polygon):
            raise InputError(
                f"holds an invalid polygon ({shown(polygon)}; expected x, y of three points or more, in pixels)"
            )
    return encode_polygons(polygons, *frame) if frame else ""
