"""Masks of a raw split, from one big `mask_dict.json` (read as a stream) or from folders of PNG files.

Both give rows of the `masks` table and faults; nothing is decoded before its run lengths have been summed up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import numpy as np

from glus.errors import InputError
from glus.masks import decode_rle, encode_rle, read_index_png, rle_area, rle_pixels, rle_runs, union
from glus.staging.faults import Fault, error
from glus.staging.lists import DOWNLOAD_AGAIN, missing_folder, not_json
from glus.staging.raw import MaskDict, MaskFolder, RawVideo

Size = tuple[int, int]  # height, width in pixels
Row = dict[str, Any]  # of the table `masks`, without dataset and split
Keep = Callable[[str, list[Row]], None]  # takes rows of one video

VOID = 255  # pixels that belong to nothing and are not scored (DAVIS)
BLOCK = 1 << 16  # bytes that the JSON parser is given at once


def read_mask_dict(
    root: Path,
    masks: MaskDict,
    videos: Mapping[str, RawVideo],
    sizes: Mapping[str, Size],
    faults: list[Fault],
    keep: Keep,
) -> set[str]:
    """Gives the rows of each annotation in use to `keep` and returns the ids that the file holds.

    Annotations of videos whose size is not known (their frames are faulty) give no rows.
    """
    found: set[str] = set()
    if not (root / masks.file).is_file():
        problem = f"{masks.file} is missing (required for training and local evaluation)"
        faults.append(error(masks.file, "", problem, "Download it with the split"))
        return set(masks.owners)
    try:
        for annotation_id, track in _annotations(root / masks.file, BLOCK):
            found.add(annotation_id)
            for video_id in masks.owners.get(annotation_id, ()):
                if video_id in sizes:
                    place = _Place(masks.file, annotation_id, videos[video_id], sizes[video_id])
                    keep(video_id, list(_track_rows(place, track, faults)))
    except ijson.JSONError as problem:
        faults.append(not_json(masks.file, _first_line(problem), *_position(root / masks.file)))
        return set(masks.owners)
    return found


@dataclass
class _Counted:
    """A file that knows how far it was read; byte by byte from `careful_from` on."""

    file: BinaryIO
    careful_from: float = float("inf")
    position: int = 0
    line: int = 1
    column: int = 0

    def read(self, size: int) -> bytes:
        block = self.file.read(min(size, 1) if self.position + BLOCK > self.careful_from else size)
        self.position += len(block)
        lines = block.count(b"\n")
        self.line += lines
        self.column = len(block) - block.rfind(b"\n") - 1 if lines else self.column + len(block)
        return block


def _annotations(path: Path, block: int) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        yield from ijson.kvitems(file, "", use_float=True, buf_size=block)


def _position(path: Path) -> tuple[int, int]:
    """Line and column at which a file stops being JSON: parsed once to the bad block, once more byte by byte there."""
    careful_from = float("inf")
    for _ in range(2):
        with path.open("rb") as file:
            counted = _Counted(file, careful_from)
            try:
                deque(ijson.basic_parse(counted, buf_size=BLOCK), maxlen=0)
            except ijson.JSONError:
                careful_from = counted.position - BLOCK
    return counted.line, max(counted.column, 1)


def _first_line(problem: Exception) -> str:
    return str(problem).splitlines()[0]


@dataclass(frozen=True)
class _Place:
    """The annotation that is being read, for rows and faults."""

    file: str
    annotation_id: str
    video: RawVideo
    size: Size

    @property
    def name(self) -> str:
        return f"{Path(self.file).name} anno_id {self.annotation_id}"


def _track_rows(place: _Place, track: Any, faults: list[Fault]) -> Iterator[Row]:
    video, record = place.video, f"anno_id {place.annotation_id}"
    if not isinstance(track, list):
        problem = f"{place.name} is a {type(track).__name__}, expected a list with a mask or null per frame"
        faults.append(error(place.file, record, problem, DOWNLOAD_AGAIN))
        return
    if len(track) != len(video.frame_names):
        problem = f"{place.name} has {len(track)} masks but video {video.video_id} has {len(video.frame_names)} frames"
        faults.append(error(place.file, record, problem, "Masks go by position: give every frame a mask or null"))
        return
    entries = {index: entry for index, entry in enumerate(track) if entry}
    if (areas := _areas(list(entries.values()), place.size)) is not None:
        for (index, entry), area in zip(entries.items(), areas, strict=True):
            yield _row(video.video_id, place.annotation_id, index, place.size, entry["counts"], area)
        return
    for index, entry in entries.items():  # one by one, to unite parts and to name what is wrong
        parts = entry if isinstance(entry, list) else [entry]
        problems = [found for found in (_rle_problem(part, place.size) for part in parts) if found]
        if not problems:
            counts = _joined([part["counts"] for part in parts], place.size)
            area = rle_area(counts, *place.size)
            yield _row(video.video_id, place.annotation_id, index, place.size, counts, area)
            continue
        where = f"{place.name}, frame {video.frame_names[index]} of {video.video_id}"
        faults.append(error(place.file, f"{record}, frame {index}", f"{where} {problems[0]}", DOWNLOAD_AGAIN))


def _areas(entries: list[Any], size: Size) -> list[int] | None:
    """Pixels of each mask of a track, all checked at once; None where an entry is not one sound run-length mask."""
    of_size = [entry for entry in entries if isinstance(entry, dict) and entry.get("size") == list(size)]
    counts = [entry["counts"] for entry in of_size if isinstance(entry.get("counts"), str) and entry["counts"]]
    if len(counts) < len(entries):
        return None
    try:
        runs, begins = rle_runs(counts)
    except InputError:
        return None
    if not counts:
        return []
    order = np.arange(len(runs)) - np.repeat(begins[:-1], np.diff(begins))
    pixels, areas = (np.add.reduceat(part, begins[:-1]) for part in (runs, runs * (order % 2)))
    return areas.tolist() if (pixels == size[0] * size[1]).all() else None


def _rle_problem(rle: Any, size: Size) -> str | None:
    """What is wrong with one run-length mask, or None."""
    height, width = size
    if not isinstance(rle, dict) or not isinstance(rle.get("counts"), str) or not isinstance(rle.get("size"), list):
        return "holds no compressed run lengths ({'size', 'counts'} with a text)"
    if rle["size"] != [height, width]:
        return f"has size {'x'.join(map(str, rle['size']))} while the frame is {height}x{width}"
    try:
        pixels = rle_pixels(rle["counts"])
    except InputError as problem:
        return f"holds an invalid RLE ({problem})"
    if pixels != height * width:
        return f"holds an invalid RLE (runs add up to {pixels}, not to {height}*{width} pixels)"
    return None


def _joined(counts: list[str], size: Size) -> str:
    """One mask of several parts: their union."""
    return counts[0] if len(counts) == 1 else encode_rle(union((decode_rle(part, *size) for part in counts), *size))


def _row(video_id: str, annotation_id: str, frame_index: int, size: Size, counts: str, area_px: int) -> Row:
    return {
        "video_id": video_id,
        "annotation_id": annotation_id,
        "frame_index": frame_index,
        "height_px": size[0],
        "width_px": size[1],
        "rle_counts": counts,
        "area_px": area_px,
    }


def read_mask_folder(
    root: Path, listed_in: str, source: MaskFolder, video: RawVideo, size: Size
) -> tuple[list[Row], list[Fault]]:
    """Rows of one folder of PNG files, one per frame of the video."""
    rows: list[Row] = []
    faults: list[Fault] = []
    record = f"video {video.video_id}"
    if absent := missing_folder(root, source.folder, video.video_id, listed_in):
        return rows, [absent]
    for index, name in enumerate(video.frame_names):
        file = f"{source.folder}/{name}.png"
        if not (root / file).is_file():
            problem = f"{file} does not exist although frame {name} is listed"
            faults.append(error(file, f"{record}, frame {name}", problem, "Unpack the annotations again"))
            continue
        try:
            pixels = read_index_png(root / file)
        except InputError as problem:
            text = str(problem).replace(f"{root / file}", file)
            faults.append(error(file, f"{record}, frame {name}", text, "Unpack the annotation again; never convert it"))
            continue
        if pixels.shape != size:
            found, wanted = f"{pixels.shape[1]}x{pixels.shape[0]}", f"{size[1]}x{size[0]}"
            text = f"annotation is {found}, the frame is {wanted}"
            faults.append(error(file, f"{record}, frame {name}", text, "Use annotations of the frames' size"))
            continue
        for annotation_id, mask in _objects(pixels, source.annotation_id):
            rows.append(_row(video.video_id, annotation_id, index, size, encode_rle(mask), int(mask.sum())))
    return rows, faults


def _objects(pixels: np.ndarray, annotation_id: str | None) -> Iterator[tuple[str, np.ndarray]]:
    if annotation_id is not None:
        if pixels.any():
            yield annotation_id, pixels != 0
        return
    for value in np.unique(pixels):
        if value not in (0, VOID):
            yield str(value), pixels == value
