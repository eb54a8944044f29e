"""The lists that the datasets share, `{"videos": {id: {"frames": [...], "expressions": {...}}}}`, and their checks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from glus.errors import InputError
from glus.processing.sentences import sentence_fault
from glus.staging.faults import Fault, error, shown, warning
from glus.staging.files.json_files import AS_PUBLISHED, read_json
from glus.staging.files.paths import is_file_name, is_inside

MIN_TRAINING_FRAMES = 4
_FRAME_NAME = re.compile(r"(\D*)(\d+)", re.ASCII)
_IMAGE = re.compile(r"\.(jpe?g|png|bmp|webp)$", re.IGNORECASE)


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


class MissingError(InputError):
    """A dataset or a split is not there.

    Attributes:
        file: what is missing, relative to the dataset's root.
    """

    def __init__(self, message: str, file: str) -> None:
        super().__init__(message)
        self.file = file

    def fault(self) -> Fault:
        """The same among the faults of datasets that are there."""
        return error(self.file, "", " ".join(str(self).split()).rstrip("."), "Put it there, or name another folder")


def require(file: Path, root: Path, tree: str, publisher: str) -> None:
    """Checks that a list without which there is no split is there.

    Raises:
        MissingError: it is not; says what is missing, the expected files and who publishes them.
    """
    if file.is_file():
        return
    places = [root, *(root / path for path in reversed(file.relative_to(root).parents)), file]
    absent = next((path for path in places if not path.exists()), None)
    found = f"{absent} does not exist" if absent else f"{file} is not a file"
    lines = "\n".join(f"  {line}" for line in tree.strip().splitlines())
    raise MissingError(
        f"{found}. Expected below {root} (`stage.roots` names another folder):\n{lines}\nPublished by {publisher}.",
        file.relative_to(root).as_posix(),
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
    if not videos:
        faults.append(error(file, "", f"{file} lists no videos", AS_PUBLISHED))
    kept = {}
    for video_id, record in videos.items():
        if not check_video_id(file, video_id, faults):
            continue
        if not isinstance(record, dict) or not isinstance(record.get("frames"), list):
            faults.append(error(file, f"video {video_id}", f"{video_id} has no list 'frames'", AS_PUBLISHED))
        else:
            kept[video_id] = record
    faults.extend(_same_but_for_case(file, kept))
    return kept


def check_video_id(file: str, video_id: str, faults: list[Fault]) -> bool:
    """Whether a video's id is a path below the dataset's folder; reports it where it is not."""
    if is_inside(video_id):
        return True
    path = PurePosixPath(video_id)
    found = (
        "leads out of the dataset's folder"
        if path.is_absolute() or ".." in path.parts
        else "is no plain relative path (forward slashes, printable, names of at most 255 bytes)"
    )
    problem = f"the video id {shown(video_id)} {found}"
    faults.append(error(file, f"video {video_id}", problem, f"Nothing of it was opened. {AS_PUBLISHED}"))
    return False


def _same_but_for_case(file: str, video_ids: Iterable[str]) -> list[Fault]:
    spellings: dict[str, list[str]] = defaultdict(list)
    for video_id in video_ids:
        spellings[video_id.casefold()].append(video_id)
    return [
        warning(
            file,
            f"video {names[1]}",
            f"the video ids {', '.join(names)} differ only in upper and lower case",
            "They are one folder on file systems that do not tell them apart; rename one of them",
        )
        for names in spellings.values()
        if len(names) > 1
    ]


def _spoken(file: str, video_id: str, expressions: Any, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    """The expressions of a video that have words and an id that can be part of a path."""
    if not isinstance(expressions, dict) or not all(isinstance(item, dict) for item in expressions.values()):
        problem = f"{video_id} has no object 'expressions' with a record for each expression"
        faults.append(error(file, f"video {video_id}", problem, AS_PUBLISHED))
        return {}
    spoken = {}
    for expression_id, expression in expressions.items():
        if not is_file_name(expression_id):
            problem = f"{video_id} has an expression id that leads out of its folder: {shown(expression_id)}"
            faults.append(error(file, expression_place(video_id, expression_id), problem, AS_PUBLISHED))
        elif check_text(file, video_id, expression_id, expression.get("exp"), faults):
            spoken[expression_id] = expression
    return spoken


def check_frame_names(file: str, video_id: str, names: list[Any], faults: list[Fault]) -> bool:
    """Checks the names of a video's frames; False where they cannot be used."""
    record = f"video {video_id}"
    if not names:
        problem = f"{video_id} has no frames: its list 'frames' is empty"
        faults.append(error(file, record, problem, "List its frames or remove it"))
        return False
    if unusable := [name for name in names if not is_file_name(name)]:
        problem = f"the frames of {video_id} are not a list of plain file names, but hold {shown(unusable[0])}"
        faults.append(error(file, record, problem, f"Nothing of it was opened. {AS_PUBLISHED}"))
        return False
    if with_extension := [name for name in names if _IMAGE.search(name)]:
        problem = f"{video_id} lists {with_extension[0]}; frames are listed by name without extension"
        faults.append(error(file, record, problem, "Remove the extensions from the list"))
        return False
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        problem = f"{video_id} lists frame {', '.join(repeated)} more than once in {PurePosixPath(file).name}"
        faults.append(error(file, record, problem, "Masks go by position: list each frame once"))
    _check_order(file, video_id, names, faults)
    warn_of_few_frames(file, video_id, len(names), faults)
    return not repeated


def warn_of_few_frames(file: str, video_id: str, num_frames: int, faults: list[Fault]) -> None:
    """Reports a video that is too short to train on."""
    if num_frames < MIN_TRAINING_FRAMES:
        problem = f"{video_id} has {num_frames} frame(s), at least {MIN_TRAINING_FRAMES} are needed for training"
        action = "Training skips it; inference and evaluation still give it a prediction"
        faults.append(warning(file, f"video {video_id}", problem, action))


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
    """Checks the words of an expression; False where there is a fault."""
    place = expression_place(video_id, expression_id)
    if fault := sentence_fault(text):
        problem, remedy = fault
        faults.append(error(file, place, f"{video_id} expression {expression_id} {problem}", remedy))
        return False
    return True


def check_objects(
    file: str, video: ListedVideo, expression_id: str, keys: tuple[str, ...], faults: list[Fault]
) -> None:
    """Reports an expression that does not say its objects; an empty list is an answer (no target, MeViS v2)."""
    expression = video.expressions[expression_id]
    place = expression_place(video.video_id, expression_id)
    if absent := [key for key in keys if expression.get(key) is None]:
        problem = f"{video.video_id} expression {expression_id} has no {'/'.join(absent)} (needed for training)"
        faults.append(error(file, place, problem, "Add the ids or remove the expression"))
    elif len({len(read_ids(file, video, expression_id, key, [])) for key in keys}) > 1:
        problem = f"{video.video_id} expression {expression_id} has lists of different lengths in {' and '.join(keys)}"
        faults.append(warning(file, place, problem, "The masks are those of anno_id; check both"))


def read_ids(file: str, video: ListedVideo, expression_id: str, key: str, faults: list[Fault]) -> tuple[str, ...]:
    """The ids under a key of an expression as text, each once; none where they are no numbers or texts."""
    value = video.expressions[expression_id].get(key)
    ids = [] if value is None else value if isinstance(value, list) else [value]
    if all(isinstance(item, int | str) and not isinstance(item, bool) and is_file_name(str(item)) for item in ids):
        return tuple(dict.fromkeys(str(item) for item in ids))
    problem = f"{video.video_id} expression {expression_id} has {key} {shown(value)}, expected a list of numbers"
    faults.append(error(file, expression_place(video.video_id, expression_id), problem, AS_PUBLISHED))
    return ()


def expression_place(video_id: str, expression_id: str) -> str:
    """How a fault names an expression's record."""
    return f"video {video_id}, expression {expression_id}"
