"""What `glus segment` wrote, corrected or not: masks as PNG where they are there, else its table."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from glus.errors import InputError
from glus.files import read_json
from glus.masks import decode_rle, encode_rle
from glus.media.sources import FrameSource
from glus.own.labels import AnnotatedTrack, AnnotatedVideo, place_of, records, text_of
from glus.own.readers.png import read_sized
from glus.own.videos import VideoFolder
from glus.records.tables import read_table
from glus.segmenting.outputs import MASKS, RESULT
from glus.staging.faults import shown

COLUMNS = ["frame_name", "sentence_number", "rle_counts", "area_px", "height_px", "width_px"]


def result_folders(folder: Path) -> list[Path]:
    """The results in a folder, or the folder itself where it is one.

    Raises:
        InputError: there are none.
    """
    found = sorted(path.parent for path in (folder / RESULT, *folder.glob(f"*/{RESULT}")) if path.is_file())
    if not found:
        raise InputError(f"{folder} holds no {RESULT}. Name a folder that `glus segment` wrote.")
    return found


def read(labels: Path, videos: VideoFolder) -> list[AnnotatedVideo]:
    """The videos of one or many results; each sentence is an object of its own.

    `masks/NN/FRAME.png` (`--format png`) is read for a sentence whose folder is there, so that it can be corrected in
    any editor: what is not 0 is the object. `masks.parquet` is read for the others.

    Raises:
        InputError: something is missing or damaged; names the file.
    """
    return [_read(folder, videos) for folder in result_folders(labels)]


def _read(folder: Path, videos: VideoFolder) -> AnnotatedVideo:
    result = folder / RESULT
    content = read_json(result)
    name, frames = videos.find(text_of(content, "video", str(result)), str(result))
    listed = content.get("frame_names")
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise InputError(
            f"{result} has frame_names {shown(listed)}, expected a list of names. Segment the video again."
        )
    places = {frame: place_of(frames, frame, str(result)) for frame in listed}
    sentences = [text_of(item, "expression", str(result)) for item in records(content.get("expressions"), str(result))]
    folders = {number: folder / "masks" / f"{number:02d}" for number in range(len(sentences))}
    drawn = {number: _from_pictures(path, places, frames) for number, path in folders.items() if path.is_dir()}
    stored = _from_table(folder / MASKS, places, frames) if len(drawn) < len(sentences) else {}
    tracks = [AnnotatedTrack(str(at), text, drawn.get(at, stored.get(at, {}))) for at, text in enumerate(sentences)]
    return AnnotatedVideo(name, frames, tuple(sorted(places.values())), tuple(tracks))


def _from_pictures(folder: Path, places: dict[str, int], frames: FrameSource) -> dict[int, str]:
    masks = {}
    for name, at in places.items():
        file = folder / f"{name}.png"
        if not file.is_file() or file.is_symlink():
            raise InputError(f"{file} is no file. Write a black picture where the object is not seen.")
        pixels = read_sized(file, frames)
        if pixels.any():
            masks[at] = encode_rle(pixels != 0)
    return masks


def _from_table(file: Path, places: dict[str, int], frames: FrameSource) -> dict[int, dict[int, str]]:
    try:
        rows: list[dict[str, Any]] = read_table("segmented", file, COLUMNS).to_pylist()
    except (OSError, pa.ArrowException) as problem:
        raise InputError(f"{file} cannot be read ({problem}). Segment the video again.") from problem
    masks: dict[int, dict[int, str]] = defaultdict(dict)
    width, height = frames.size
    for row in rows:
        if (row["height_px"], row["width_px"]) != (height, width) or row["frame_name"] not in places:
            raise InputError(
                f"{file}: frame {row['frame_name']} is not of {frames.name}. Name the video it was made of."
            )
        if row["area_px"]:
            try:
                decode_rle(row["rle_counts"], height, width)
            except InputError as problem:
                raise InputError(f"{file}: frame {row['frame_name']}: {problem}. Segment the video again.") from problem
            masks[row["sentence_number"]][places[row["frame_name"]]] = row["rle_counts"]
    return masks
