"""What every reader hands over: videos, expressions, where their masks lie, and the faults found on the way.

Readers read lists only. Frames and masks are opened by `frames` and `mask_files`, the same for every dataset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from glus.errors import InputError
from glus.staging.faults import Fault, error, warning

MIN_TRAINING_FRAMES = 4
DOWNLOAD_AGAIN = "Download or unpack the file again"
_FRAME_NAME = re.compile(r"(\D*)(\d+)")


@dataclass(frozen=True)
class RawVideo:
    """A video as its dataset lists it; frames are `<root>/<frame_dir>/<name>.jpg`, paths with forward slashes."""

    video_id: str
    frame_names: tuple[str, ...]
    frame_dir: str
    grey_frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class RawExpression:
    """A sentence as its dataset lists it."""

    video_id: str
    expression_id: str
    text: str
    object_ids: tuple[str, ...] = ()
    annotation_ids: tuple[str, ...] = ()
    family: str | None = None


@dataclass(frozen=True)
class MaskDict:
    """Masks of a split in one `mask_dict.json`: annotation id -> list of run lengths by position of the frame.

    Attributes:
        file: relative to the root.
        owners: the videos that each annotation is listed for.
    """

    file: str
    owners: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class MaskFolder:
    """Masks of a video as one PNG per frame.

    Attributes:
        folder: relative to the root.
        annotation_id: the one annotation that every non-zero pixel belongs to; None: pixel values are annotation ids.
    """

    video_id: str
    folder: str
    annotation_id: str | None = None


@dataclass
class RawSplit:
    """A split as listed.

    Attributes:
        file: the list of its expressions, relative to the root.
        masks: None where the owners keep them (server splits).
    """

    file: str
    videos: list[RawVideo] = field(default_factory=list)
    expressions: list[RawExpression] = field(default_factory=list)
    masks: MaskDict | list[MaskFolder] | None = None
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Published:
    """Counts that the owners publish for a split."""

    videos: int | None = None
    expressions: int | None = None


class Reader(Protocol):
    """A module that reads one dataset's published layout.

    Attributes:
        TREE: the expected files below the root.
        PUBLISHER: who gives them out.
        PUBLISHED: counts by split, where they are known.
    """

    TREE: str
    PUBLISHER: str
    PUBLISHED: dict[str, Published]

    def load(self, root: Path, split: str) -> RawSplit:
        """Reads the lists of a split.

        Raises:
            InputError: the dataset or the split is not there.
        """


def read_json(root: Path, file: str, faults: list[Fault]) -> dict[str, Any] | None:
    """Reads a JSON object; a fault and None where it is cut, malformed or something else."""
    try:
        content = json.loads((root / file).read_text(encoding="utf-8"))
    except json.JSONDecodeError as problem:
        faults.append(cut_json(file, problem.msg, problem.lineno, problem.colno))
        return None
    except UnicodeDecodeError as problem:
        faults.append(error(file, "", f"not UTF-8 text ({problem.reason} at byte {problem.start})", DOWNLOAD_AGAIN))
        return None
    if not isinstance(content, dict):
        faults.append(error(file, "", f"holds a {type(content).__name__}, expected an object", DOWNLOAD_AGAIN))
        return None
    return content


def cut_json(file: str, message: str, line: int, column: int) -> Fault:
    """The fault of a JSON file that cannot be parsed."""
    problem = f"{file} is not valid JSON: {message} at line {line}, column {column} (ends early or was damaged)"
    return error(file, "", problem, f"Probably an incomplete download. {DOWNLOAD_AGAIN}")


def read_videos(root: Path, file: str, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    """The video records of an expression file (`{"videos": {id: {"expressions", "frames"}}}`), malformed ones left out.

    Videos whose name leads out of the dataset are refused here, before any of their files is opened.
    """
    content = read_json(root, file, faults)
    if content is None:
        return {}
    videos = content.get("videos")
    if not isinstance(videos, dict):
        faults.append(error(file, "", "has no object 'videos'", "Take the file of the published layout"))
        return {}
    kept = {}
    for video_id, record in videos.items():
        if not is_inside(video_id):
            problem = f"the video id {video_id!r} leads out of the dataset's folder"
            faults.append(error(file, f"video {video_id}", problem, "Refused; use the file as its owners publish it"))
        elif not isinstance(record, dict) or not isinstance(record.get("frames"), list):
            faults.append(error(file, f"video {video_id}", "has no list 'frames'", DOWNLOAD_AGAIN))
        else:
            kept[video_id] = record
    return kept


def is_inside(name: str) -> bool:
    """Whether a name from a file stays below the folder it is joined to."""
    path = PurePosixPath(name)
    return (
        bool(name.strip()) and not path.is_absolute() and ".." not in path.parts and not set(name) & {"\\", "\0", ":"}
    )


def check_frame_names(file: str, video_id: str, names: list[Any], faults: list[Fault]) -> bool:
    """Checks the names of a video's frames; False where they cannot be used."""
    record = f"video {video_id}"
    if not all(isinstance(name, str) and is_inside(name) and "/" not in name for name in names):
        faults.append(
            error(file, record, "frame names are not plain file names", "Use the file as its owners publish it")
        )
        return False
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        problem = f"{video_id} lists frame {', '.join(repeated)} more than once in {Path(file).name}"
        faults.append(error(file, record, problem, "Masks go by position: list each frame once"))
    parts = [_FRAME_NAME.fullmatch(name) for name in names]
    if not all(parts) or len({(part[1], len(part[2])) for part in parts if part}) > 1:
        shown = ", ".join(names[:5])
        problem = (
            f"the frame names of {video_id} are not zero-padded numbers of one width ({shown}): sorted as text"
            " and as numbers they may come in another order, so frames and masks may be paired wrongly"
        )
        faults.append(error(file, record, problem, "Rename the frames to zero-padded numbers, in the list and on disk"))
    elif names != sorted(names):
        problem = f"the frames of {video_id} are not listed in ascending order"
        faults.append(warning(file, record, problem, "They are kept as listed, because masks go by position"))
    if len(names) < MIN_TRAINING_FRAMES:
        problem = f"{video_id} has {len(names)} frame(s), at least {MIN_TRAINING_FRAMES} are needed for training"
        action = "Training skips it; inference and evaluation still give it a prediction"
        faults.append((warning if names else error)(file, record, problem, action))
    return bool(names) and not repeated


def check_text(file: str, video_id: str, expression_id: str, text: Any, faults: list[Fault]) -> bool:
    """Checks the words of an expression; False where there are none."""
    if isinstance(text, str) and text.strip():
        return True
    problem = f"{video_id} expression {expression_id} is empty ({text!r})"
    faults.append(error(file, f"video {video_id}, expression {expression_id}", problem, "Write it or remove it"))
    return False


def as_ids(value: Any) -> tuple[str, ...]:
    """Ids as text: a list of numbers or strings, or a single one."""
    if value is None:
        return ()
    return tuple(str(item) for item in value) if isinstance(value, list) else (str(value),)


def require(file: Path, root: Path, tree: str, publisher: str) -> None:
    """Checks that a list without which there is no split is there.

    Raises:
        InputError: it is not; says what is missing, the expected files and who publishes them.
    """
    if file.is_file():
        return
    what = next(
        (path for path in (root, *reversed(file.relative_to(root).parents)) if not (root / path).exists()), None
    )
    absent = root / what if what else file
    lines = "\n".join(f"  {line}" for line in tree.strip().splitlines())
    raise InputError(
        f"{absent} does not exist. Expected below {root} (`stage.roots` names another folder):\n{lines}\n"
        f"Published by {publisher}."
    )
