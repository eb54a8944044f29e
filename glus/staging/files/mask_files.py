"""Masks of a raw split, from one big `mask_dict.json` (read as a stream) or from folders of PNG files.

Both give rows of the `masks` table and faults; nothing is decoded before its run lengths have been summed up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ijson
import numpy as np

from glus.errors import InputError
from glus.masks import UNDECODABLE, encode_rle, read_index_png, rle_area, rle_runs
from glus.staging.faults import Fault, error, shown, warning
from glus.staging.files.expression_lists import MIN_TRAINING_FRAMES
from glus.staging.files.frames import Size
from glus.staging.files.json_files import AS_PUBLISHED, DOWNLOAD_AGAIN, key_repeated
from glus.staging.files.json_streams import damaged, stream_list, stream_object
from glus.staging.files.mask_entries import read_entry
from glus.staging.files.paths import leads_out, led_out, missing_folder, other_spelling, require_no_link_out
from glus.staging.raw import InstanceFile, MaskDict, MaskFolder, RawVideo

Row = dict[str, Any]  # of the table `masks`, without dataset and split

PNG_AGAIN = "Unpack the annotation again; it has to be an indexed or 8-bit grey PNG of the frame's size"
VOID = 255  # pixels that belong to nothing and are not scored (DAVIS)


def read_mask_dict(
    root: Path,
    masks: MaskDict,
    videos: Mapping[str, RawVideo],
    sizes: Mapping[str, Size],
    known: set[str],
    faults: list[Fault],
) -> Iterator[tuple[str, list[Row]]]:
    """Yields the rows of each annotation in use, with its video, in the order of the file.

    Annotations of videos whose size is not known (their frames are faulty) are checked, but give no rows.

    Args:
        known: takes the ids that the file holds; all that are in use where it cannot be read to its end.
    """
    path = root / masks.file
    if not path.is_file():
        problem = f"{masks.file} is missing (required for training and local evaluation)"
        faults.append(error(masks.file, "", problem, "Download it with the split"))
        known.update(masks.owners)
        return
    if leads_out(root, masks.file):
        faults.append(led_out(masks.file, ""))
        known.update(masks.owners)
        return
    try:
        for annotation_id, track in _tracks(path, masks):
            if annotation_id in known:
                problem = f"{Path(masks.file).name} has anno_id {annotation_id} more than once"
                faults.append(error(masks.file, f"anno_id {annotation_id}", problem, AS_PUBLISHED))
                continue
            known.add(annotation_id)
            for video_id in masks.owners.get(annotation_id, ()):
                place = _Place(masks.file, annotation_id, videos[video_id], sizes.get(video_id))
                yield video_id, _track_rows(place, track, faults)
        if not known:
            problem = f"{masks.file} holds no masks, expected an object with a list for each annotation"
            faults.append(error(masks.file, "", problem, AS_PUBLISHED))
    except ijson.JSONError as problem:
        faults.append(damaged(root, masks.file, problem))
        known.update(masks.owners)


def _tracks(path: Path, masks: MaskDict) -> Iterator[tuple[str, Any]]:
    """Annotation ids with their masks, an entry per frame."""
    if isinstance(masks, InstanceFile):
        for record in stream_list(path, "annotations"):
            if isinstance(record, dict):
                yield str(record.get("id")), record.get("segmentations")
        return
    yield from stream_object(path)


@dataclass(frozen=True)
class _Place:
    """The annotation that is being read, for rows and faults."""

    file: str
    annotation_id: str
    video: RawVideo
    size: Size | None

    @property
    def name(self) -> str:
        return f"{Path(self.file).name} anno_id {self.annotation_id}"


def _track_rows(place: _Place, track: Any, faults: list[Fault]) -> list[Row]:
    video, record = place.video, f"anno_id {place.annotation_id}"
    if not isinstance(track, list):
        problem = f"{place.name} is {shown(track)}, expected a list with a mask or null per frame"
        faults.append(error(place.file, record, problem, DOWNLOAD_AGAIN))
        return []
    if len(track) != len(video.frame_names):
        problem = f"{place.name} has {len(track)} masks but video {video.video_id} has {len(video.frame_names)} frames"
        faults.append(error(place.file, record, problem, "Masks go by position: give every frame a mask or null"))
        return []
    rows, broken = _sound_rows(place, track), False
    if rows is None:
        rows, broken = _rows_one_by_one(place, track, faults)
    if not rows and not broken and place.size and len(track) >= MIN_TRAINING_FRAMES:
        text = f"{place.name} of {video.video_id} has no mask in any frame"
        faults.append(warning(place.file, record, text, "The object counts as absent throughout; check the ids"))
    return rows


def _sound_rows(place: _Place, track: list[Any]) -> list[Row] | None:
    """Rows of a track whose masks are all checked at once; None where an entry is not null or one sound RLE."""
    if place.size is None:
        return None
    height, width = place.size
    frames = [index for index, entry in enumerate(track) if entry not in (None, [], {})]
    if not frames:
        return []
    whole = [
        entry for entry in (track[index] for index in frames) if isinstance(entry, dict) and not key_repeated(entry)
    ]
    of_size = [
        entry for entry in whole if entry.get("size") == [height, width] and {*map(type, entry["size"])} == {int}
    ]
    counts = [entry["counts"] for entry in of_size if isinstance(entry.get("counts"), str) and entry["counts"]]
    if len(counts) < len(frames):
        return None
    try:
        runs, begins = rle_runs(counts)
    except InputError:
        return None
    order = np.arange(len(runs)) - np.repeat(begins[:-1], np.diff(begins))
    pixels, areas = (np.add.reduceat(part, begins[:-1]) for part in (runs, runs * (order % 2)))
    if (pixels != height * width).any():
        return None
    return [
        _row(place.video.video_id, place.annotation_id, index, place.size, text, area)
        for index, text, area in zip(frames, counts, areas.tolist(), strict=True)
        if area
    ]


def _rows_one_by_one(place: _Place, track: list[Any], faults: list[Fault]) -> tuple[list[Row], bool]:
    """Rows of entries of any form, and whether there are others, which are named."""
    video, record = place.video, f"anno_id {place.annotation_id}"
    rows, broken = [], False
    for index, entry in enumerate(track):
        try:
            counts = read_entry(entry, place.size)
        except InputError as problem:
            broken = True
            where = f"{place.name}, frame {video.frame_names[index]} of {video.video_id}"
            faults.append(error(place.file, f"{record}, frame {index}", f"{where} {problem}", DOWNLOAD_AGAIN))
            continue
        if counts and place.size and (area := rle_area(counts, *place.size)):
            rows.append(_row(video.video_id, place.annotation_id, index, place.size, counts, area))
    return rows, broken


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
    root: Path, listed_in: str, source: MaskFolder, video: RawVideo, size: Size | None
) -> tuple[list[Row], list[Fault]]:
    """Rows of one folder of PNG files, one per frame of the video or per frame that shows the object.

    There are none where the video's size is not known.
    """
    if absent := missing_folder(root, source.folder, video.video_id, listed_in):
        return [], [absent]
    rows: list[Row] = []
    values: set[int] = set()
    faults = _masks_without_frame(root, source.folder, video)
    for index, name in enumerate(video.frame_names):
        file = f"{source.folder}/{name}.png"
        if source.sparse and not (root / file).exists():
            continue
        try:
            pixels = _read_png(root, file, name, size)
        except InputError as problem:
            place = f"video {video.video_id}, frame {name}"
            faults.append(error(file, place, str(problem), PNG_AGAIN))
            continue
        values.update(np.flatnonzero(np.bincount(pixels.ravel())).tolist())
        if size is None:
            continue
        for annotation_id, mask in _objects(pixels, source.annotation_id):
            rows.append(_row(video.video_id, annotation_id, index, size, encode_rle(mask), int(mask.sum())))
    if source.annotation_id is None and VOID in values and values <= {0, VOID}:
        found = f"the masks of {video.video_id} in {source.folder} hold no object, but 0 and {VOID} alone"
        action = f"Write the object's number in place of {VOID}, which is void here: pixels of no object"
        faults.append(error(source.folder, f"video {video.video_id}", found, action))
    return rows, faults


def _masks_without_frame(root: Path, folder: str, video: RawVideo) -> list[Fault]:
    others = sorted({path.stem for path in (root / folder).glob("*.png")} - set(video.frame_names))
    if not others:
        return []
    problem = f"{folder} holds masks of {len(others)} frames that are not listed, such as {others[0]}.png"
    return [warning(folder, f"video {video.video_id}", problem, "They are left out; check the list of frames")]


def _read_png(root: Path, file: str, frame: str, size: Size | None) -> np.ndarray:
    """Object numbers of one annotation, uint8 [H, W], of the frame's size where that is known.

    Raises:
        InputError: what is wrong with it.
    """
    path = root / file
    if not path.is_file():
        other = other_spelling(path)
        found = f"; {other} is there" if other else ""
        raise InputError(f"{file} does not exist although frame {frame} is listed{found}")
    require_no_link_out(root, file)
    try:
        pixels = read_index_png(path)
    except InputError as problem:
        raise InputError(str(problem).replace(str(path), file)) from problem
    except UNDECODABLE as problem:
        raise InputError(f"{file} cannot be decoded: {problem}") from problem
    if size and pixels.shape != size:
        found, wanted = f"{pixels.shape[1]}x{pixels.shape[0]}", f"{size[1]}x{size[0]}"
        turned = ", shown as its file says, turned or stretched" if pixels.shape == size[::-1] else ""
        raise InputError(f"{file} is {found} while the frame is {wanted}{turned}")
    return pixels


def _objects(pixels: np.ndarray, annotation_id: str | None) -> Iterator[tuple[str, np.ndarray]]:
    if annotation_id is not None:
        if pixels.any():
            yield annotation_id, pixels != 0
        return
    for value in np.unique(pixels):
        if value not in (0, VOID):
            yield str(value), pixels == value
