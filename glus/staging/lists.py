"""The lists that the datasets share, `{"videos": {id: {"frames": [...], "expressions": {...}}}}`, and their checks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from glus.errors import InputError
from glus.staging.faults import Fault, error, warning

MIN_TRAINING_FRAMES = 4
DOWNLOAD_AGAIN = "Download or unpack the file again"
AS_PUBLISHED = "Use the file as its owners publish it"
_FRAME_NAME = re.compile(r"(\D*)(\d+)")


@dataclass(frozen=True)
class ListedVideo:
    """A video of an expression file, as far as it can be used.

    Attributes:
        record: all that the file says about it.
        expressions: record of each expression that has words, by id.
    """

    video_id: str
    frame_names: tuple[str, ...]
    record: dict[str, Any]
    expressions: dict[str, dict[str, Any]]


def require(file: Path, root: Path, tree: str, publisher: str) -> None:
    """Checks that a list without which there is no split is there.

    Raises:
        InputError: it is not; says what is missing, the expected files and who publishes them.
    """
    if file.is_file():
        return
    absent = next(
        path for path in (root, *reversed(file.relative_to(root).parents), file) if not (root / path).exists()
    )
    lines = "\n".join(f"  {line}" for line in tree.strip().splitlines())
    raise InputError(
        f"{root / absent} does not exist. Expected below {root} (`stage.roots` names another folder):\n{lines}\n"
        f"Published by {publisher}."
    )


def list_videos(root: Path, file: str, faults: list[Fault]) -> list[ListedVideo]:
    """The videos of an expression file; what cannot be used is left out and named in `faults`."""
    listed = []
    for video_id, record in read_videos(root, file, faults).items():
        usable = check_frame_names(file, video_id, record["frames"], faults)
        spoken = _spoken(file, video_id, record.get("expressions"), faults)
        if usable:
            listed.append(ListedVideo(video_id, tuple(record["frames"]), record, spoken))
    return listed


def _spoken(file: str, video_id: str, expressions: Any, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    """The expressions of a video that have words and an id that can be part of a path."""
    if not isinstance(expressions, dict) or not all(isinstance(item, dict) for item in expressions.values()):
        problem = f"{video_id} has no object 'expressions' with a record for each expression"
        faults.append(error(file, f"video {video_id}", problem, AS_PUBLISHED))
        return {}
    spoken = {}
    for expression_id, expression in expressions.items():
        if not is_inside(expression_id) or "/" in expression_id:
            problem = f"{video_id} has an expression id that leads out of its folder: {expression_id!r}"
            faults.append(error(file, expression_place(video_id, expression_id), problem, AS_PUBLISHED))
        elif check_text(file, video_id, expression_id, expression.get("exp"), faults):
            spoken[expression_id] = expression
    return spoken


def missing_folder(root: Path, folder: str, video_id: str, listed_in: str) -> Fault | None:
    """The fault of a folder that is not there: of the outermost one, so that an absent tree is one fault."""
    absent = [path for path in (PurePosixPath(folder), *PurePosixPath(folder).parents) if not (root / path).is_dir()]
    if not absent:
        return None
    outermost = absent[-1]
    packed = outermost.with_name(f"{outermost.name}.tar")
    action = f"Unpack {packed}" if (root / packed).is_file() else "Unpack or download it again"
    if len(absent) > 1:
        return error(str(outermost), "", f"{outermost} does not exist, which {listed_in} needs", action)
    problem = f"video {video_id} is listed in {listed_in} but {folder} does not exist"
    return error(folder, f"video {video_id}", problem, f"{action}, or remove the video from the list")


def read_videos(root: Path, file: str, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    """The video records of an expression file that have frames.

    Videos whose name leads out of the dataset are refused here, before any of their files is opened.
    """
    content = read_json(root, file, faults)
    if content is None:
        return {}
    videos = content.get("videos")
    if not isinstance(videos, dict):
        faults.append(error(file, "", f"{file} has no object 'videos'", AS_PUBLISHED))
        return {}
    kept = {}
    for video_id, record in videos.items():
        if not is_inside(video_id):
            problem = f"the video id {video_id!r} leads out of the dataset's folder"
            faults.append(error(file, f"video {video_id}", problem, f"Nothing of it was opened. {AS_PUBLISHED}"))
        elif not isinstance(record, dict) or not isinstance(record.get("frames"), list):
            faults.append(error(file, f"video {video_id}", f"{video_id} has no list 'frames'", AS_PUBLISHED))
        else:
            kept[video_id] = record
    return kept


def read_json(root: Path, file: str, faults: list[Fault]) -> dict[str, Any] | None:
    """Reads a JSON object; a fault and None where it is cut, malformed or something else."""
    try:
        content = json.loads((root / file).read_text(encoding="utf-8"))
    except json.JSONDecodeError as problem:
        faults.append(not_json(file, problem.msg, problem.lineno, problem.colno))
        return None
    except UnicodeDecodeError as problem:
        text = f"{file} is not UTF-8 text ({problem.reason} at byte {problem.start})"
        faults.append(error(file, "", text, DOWNLOAD_AGAIN))
        return None
    if not isinstance(content, dict):
        faults.append(error(file, "", f"{file} holds a {type(content).__name__}, expected an object", AS_PUBLISHED))
        return None
    return content


def not_json(file: str, message: str, line: int, column: int) -> Fault:
    """The fault of a JSON file that cannot be parsed."""
    problem = f"{file} is not valid JSON: {message} at line {line}, column {column}"
    return error(file, "", problem, f"It ends early or is damaged, probably an incomplete download. {DOWNLOAD_AGAIN}")


def is_inside(name: str) -> bool:
    """Whether a name from a file stays below the folder it is joined to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not set(name) & {"\\", "\0"}


def check_frame_names(file: str, video_id: str, names: list[Any], faults: list[Fault]) -> bool:
    """Checks the names of a video's frames; False where they cannot be used."""
    record = f"video {video_id}"
    if not names or not all(isinstance(name, str) and is_inside(name) and "/" not in name for name in names):
        problem = f"the frames of {video_id} are not a list of plain file names"
        faults.append(error(file, record, problem, AS_PUBLISHED))
        return False
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        problem = f"{video_id} lists frame {', '.join(repeated)} more than once in {Path(file).name}"
        faults.append(error(file, record, problem, "Masks go by position: list each frame once"))
    _check_order(file, video_id, names, faults)
    if len(names) < MIN_TRAINING_FRAMES:
        problem = f"{video_id} has {len(names)} frame(s), at least {MIN_TRAINING_FRAMES} are needed for training"
        action = "Training skips it; inference and evaluation still give it a prediction"
        faults.append(warning(file, record, problem, action))
    return not repeated


def _check_order(file: str, video_id: str, names: list[str], faults: list[Fault]) -> None:
    parts = [_FRAME_NAME.fullmatch(name) for name in names]
    if not all(parts) or len({(part[1], len(part[2])) for part in parts if part}) > 1:
        problem = (
            f"the frame names of {video_id} are not zero-padded numbers of one width ({', '.join(names[:5])}):"
            " sorted as text and as numbers they may come in another order, so frames and masks may be paired wrongly"
        )
        action = "Rename the frames to zero-padded numbers, in the list and on disk"
        faults.append(error(file, f"video {video_id}", problem, action))
    elif names != sorted(names):
        problem = f"the frames of {video_id} are not listed in ascending order"
        faults.append(
            warning(file, f"video {video_id}", problem, "They are kept as listed, because masks go by position")
        )


def check_text(file: str, video_id: str, expression_id: str, text: Any, faults: list[Fault]) -> bool:
    """Checks the words of an expression; False where there are none."""
    if isinstance(text, str) and text.strip():
        return True
    problem = f"{video_id} expression {expression_id} is empty ({text!r})"
    faults.append(error(file, expression_place(video_id, expression_id), problem, "Write it or remove it"))
    return False


def check_objects(
    file: str, video: ListedVideo, expression_id: str, keys: tuple[str, ...], faults: list[Fault]
) -> None:
    """Reports an expression that does not say its objects; an empty list is an answer (no target, MeViS v2)."""
    absent = [key for key in keys if video.expressions[expression_id].get(key) is None]
    if absent:
        problem = f"{video.video_id} expression {expression_id} has no {'/'.join(absent)} (needed for training)"
        place = expression_place(video.video_id, expression_id)
        faults.append(error(file, place, problem, "Add the ids or remove the expression"))


def expression_place(video_id: str, expression_id: str) -> str:
    """How a fault names an expression's record."""
    return f"video {video_id}, expression {expression_id}"


def as_ids(value: Any) -> tuple[str, ...]:
    """Ids as text: of a list of numbers or strings, of a single one, or none."""
    if value is None:
        return ()
    return tuple(str(item) for item in value) if isinstance(value, list) else (str(value),)
