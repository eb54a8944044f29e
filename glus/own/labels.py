"""Labelled videos on their way from an annotation tool into the project's own layout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import is_zipfile

from glus.errors import InputError
from glus.media.sources import FrameSource
from glus.staging.faults import Fault, shown
from glus.staging.files.json_files import parse_json
from glus.staging.files.mask_entries import read_entry

BOXES_ONLY = (
    "{}: {} is labelled with boxes only, and a box is no mask. Draw masks or polygons in the tool, or let `glus"
    " segment` make masks, correct them, and read them with --from segment."
)
_LAST_NUMBER = re.compile(r"(\d+)\Z", re.ASCII)


@dataclass(frozen=True)
class AnnotatedTrack:
    """One object of a video.

    Attributes:
        name: what a table of sentences may call it: the tool's number of it.
        label: its class, or a sentence about it; empty where the tool knows none.
        masks: place of a frame -> compressed run lengths; frames that do not show it are left out.
    """

    name: str
    label: str
    masks: dict[int, str]


@dataclass(frozen=True)
class AnnotatedVideo:
    """One video with its objects.

    Attributes:
        name: path below the folder of videos, without a film's suffix.
        frames: all of them.
        labelled: places of the frames that were labelled, ascending; the others were not looked at.
        tracks: at least one.
    """

    name: str
    frames: FrameSource
    labelled: tuple[int, ...]
    tracks: tuple[AnnotatedTrack, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        width, height = self.frames.size
        return height, width


def read_mask(entry: Any, frames: FrameSource, place: str) -> str | None:
    """One mask in COCO's forms (RLE, runs, polygons) as compressed run lengths; None where there is none.

    Raises:
        InputError: it is damaged, or of another size than the frames; names its place.
    """
    width, height = frames.size
    try:
        return read_entry(entry, (height, width))
    except InputError as problem:
        raise InputError(f"{place} {problem}. Export it again at the size of the frames.") from problem


def place_of(frames: FrameSource, file_name: str, said_in: str) -> int:
    """Where a frame stands in its video: by its name, in a film by the number at its name's end.

    Raises:
        InputError: the video has no such frame.
    """
    stem = PurePosixPath(file_name).stem
    if stem in frames.frame_names:
        return frames.frame_names.index(stem)
    number = _LAST_NUMBER.search(stem)
    if number and frames.path is not None and frames.path.is_file() and int(number[1]) < len(frames):
        return int(number[1])
    names = frames.frame_names
    raise InputError(
        f"{said_in}: {shown(file_name)} is no frame of {frames.name}, which has {len(names)}: {names[0]} to"
        f" {names[-1]}. Export labels and frames of the same task."
    )


def take_frame(taken: dict[int, str], place: int, frames: FrameSource, said_in: str) -> None:
    """Notes where a frame is labelled.

    Args:
        taken: place of a frame -> where it is labelled.

    Raises:
        InputError: it is labelled elsewhere already: which of the two is meant is not known.
    """
    if place in taken:
        frame = f"frame {frames.frame_names[place]} of {frames.name}"
        raise InputError(f"{said_in} is of {frame}, as is {taken[place]}. Keep one.")
    taken[place] = said_in


def path_in(text: str) -> PurePosixPath:
    """A path in a file of labels, which may have been written on Windows."""
    return PurePosixPath(text.replace("\\", "/"))


def require_labels(file: Path) -> None:
    """What is named by `--labels` may be a file of labels.

    Raises:
        InputError: it is none, or the zip that a tool packs it into.
    """
    if not file.is_file():
        found = "is a folder" if file.is_dir() else "does not exist"
        raise InputError(f"{file} {found}; --labels names a file of labels.")
    if is_zipfile(file):
        raise InputError(f"{file} is a zip; unpack it, and name the file of labels that it holds.")


def read_json(file: Path) -> Any:
    """What a JSON file of an annotation tool holds.

    Raises:
        InputError: it cannot be read, or is not JSON.
    """
    require_labels(file)
    faults: list[Fault] = []
    try:
        content = parse_json(str(file), file.read_text(encoding="utf-8-sig"), faults)
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{file} cannot be read as UTF-8 text ({problem}). Export it again.") from problem
    if faults:
        raise InputError(f"{faults[0].problem}. Export it again.")
    return content


def records(value: Any, place: str) -> Iterator[dict[str, Any]]:
    """The objects of a list in a file.

    Raises:
        InputError: it is no list of objects.
    """
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError(f"{place} is {shown(value)}, expected a list of objects. Export it again.")
    yield from value


def text_of(record: dict[str, Any], key: str, place: str) -> str:
    """A text or a number of a record, as text.

    Raises:
        InputError: something else stands there, or nothing.
    """
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise InputError(f"{place} has {key} {shown(value)}, expected a text or a number. Export it again.")
    return str(value)
