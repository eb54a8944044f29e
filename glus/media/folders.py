"""Which files of a folder are the frames of one clip, and in which order."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from glus.errors import InputError, name_some
from glus.media.pictures import PICTURE_SUFFIXES

_NUMBERED = re.compile(r"(.*?)([0-9]+)([^0-9]*)", re.DOTALL)  # the last number of a name, and what stands around it
HIDDEN = (".", "Thumbs.db", "desktop.ini")  # what systems put beside pictures: .DS_Store, ._00003.jpg


def list_frame_files(folder: Path) -> tuple[list[str], list[str]]:
    """The pictures of a folder in the order of their numbers, and what is left out.

    Frames are named by one text and a number (`frame1.jpg`, `frame10.jpg`, `00002.png`); their numbers are compared as
    numbers. A picture alone may have any name.

    Returns:
        File names of the frames, and a sentence about each kind of thing that is left out.

    Raises:
        InputError: no pictures, pictures that differ in more than their number, or two of one number or one name.
    """
    hidden, others, pictures = [], [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(HIDDEN):
            hidden.append(path.name)
        elif path.suffix.lower() not in PICTURE_SUFFIXES or path.is_dir():
            others.append(path.name)
        else:
            pictures.append(path.name)
    left_out = [*_left_out(folder, "hidden", hidden), *_left_out(folder, "no pictures", others)]
    if not pictures:
        found = f"; found {name_some(others)}" if others else ""
        raise InputError(f"{folder} holds no pictures ({', '.join(PICTURE_SUFFIXES)}){found}.")
    return in_order(str(folder), pictures), left_out


def in_order(folder: str, files: Iterable[str]) -> list[str]:
    """File names of frames in the order of their numbers.

    Raises:
        InputError: as for `list_frame_files`.
    """
    files = list(files)
    if len(files) == 1:
        return files
    numbers: dict[str, int] = {}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in files:
        parts = _NUMBERED.fullmatch(Path(file).stem)
        groups[(parts[1], parts[3]) if parts else ("", file)].append(file)
        numbers[file] = int(parts[2]) if parts else 0
    if len(groups) > 1:
        odd = min(groups.values(), key=len)
        most = max(groups.values(), key=len)
        raise InputError(
            f"{folder}: the names of its {len(files)} pictures are not one text and a number each, so their order is"
            f" not known: {name_some(most[:2])} beside {name_some(odd)}. Give frames such names, and move other"
            " pictures to another folder."
        )
    count = Counter(numbers.values())
    if twice := [file for file in sorted(files) if count[numbers[file]] > 1]:
        raise InputError(
            f"{folder} holds two pictures of one number: {name_some(twice)}. Move those that are no frames to another"
            " folder."
        )
    return sorted(files, key=numbers.__getitem__)


def _left_out(folder: Path, why: str, names: list[str]) -> list[str]:
    return [f"{folder}: {len(names)} left out ({why}): {name_some(names)}"] if names else []
