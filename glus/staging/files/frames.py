"""Frames of a raw video: every one is opened, decoded in full and hashed, because a bad one shows up nowhere else."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from glus.errors import InputError, plain_words
from glus.masks import UNDECODABLE
from glus.staging.faults import Fault, error, warning
from glus.staging.files.paths import ALLOW, leads_out, missing_folder, other_spelling
from glus.staging.raw import RawVideo

USUAL = "JPEG RGB"
AGAIN = "Unpack or download the frame again"

Size = tuple[int, int]  # height, width in pixels


@dataclass
class FrameCheck:
    """What a video's frames turned out to be; the size is None where no frame could be opened."""

    size_px: Size | None = None
    sha256: str = ""
    faults: list[Fault] = field(default_factory=list)


def check_frames(root: Path, listed_in: str, video: RawVideo) -> FrameCheck:
    """Opens all frames of a video; a missing folder is one fault, not one per frame.

    Args:
        listed_in: the list that names the video, for messages.
    """
    if absent := missing_folder(root, video.frame_dir, video.video_id, listed_in):
        return FrameCheck(faults=[absent])
    check = FrameCheck()
    digest = hashlib.sha256()
    odd: dict[str, list[str]] = defaultdict(list)
    for name in video.frame_names:
        file = f"{video.frame_dir}/{name}.jpg"
        record = f"video {video.video_id}, frame {name}"
        try:
            content = _read(root, file, name, video.video_id, listed_in)
            digest.update(hashlib.sha256(content).digest())
            size, kind = _decode(file, content)
        except InputError as problem:
            check.faults.append(error(file, record, str(problem), AGAIN))
            continue
        odd[kind].append(name)
        check.size_px = check.size_px or size
        if size != check.size_px:
            check.faults.append(_other_size(file, record, size, check.size_px))
    check.faults.extend(_odd_kind(video, kind, names) for kind, names in odd.items() if kind != USUAL)
    check.sha256 = digest.hexdigest()
    return check


def _other_size(file: str, record: str, size: Size, expected: Size) -> Fault:
    problem = f"frame is {size[1]}x{size[0]}, the frames before it are {expected[1]}x{expected[0]}"
    return error(file, record, problem, "Give all frames of a video one size")


def _odd_kind(video: RawVideo, kind: str, names: list[str]) -> Fault:
    problem = f"{len(names)} frames of {video.video_id} are {kind} pictures, expected {USUAL}, such as {names[0]}.jpg"
    return warning(video.frame_dir, f"video {video.video_id}", problem, "They are read as they are, as RGB")


def _read(root: Path, file: str, name: str, video_id: str, listed_in: str) -> bytes:
    path = root / file
    if not path.is_file():
        other = other_spelling(path)
        found = f"; {other} is there, frames have to be JPEG files called .jpg" if other else ""
        raise InputError(f"frame {name} of video {video_id} is listed in {listed_in} but {file} does not exist{found}")
    if path.is_symlink() and leads_out(root, file):
        raise InputError(f"{file} is a symbolic link out of the dataset's folder; it was not opened. {ALLOW}")
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise InputError(f"{file} cannot be read ({problem.strerror})") from problem
    if not content:
        raise InputError(f"{file} is empty (0 bytes)")
    return content


def _decode(file: str, content: bytes) -> tuple[Size, str]:
    """Size and kind (`JPEG RGB`) of a picture that decodes to its end and that RGB loses nothing of."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            size, mode, kind = (image.height, image.width), image.mode, image.format
            num_pictures = getattr(image, "n_frames", 1)
    except UNDECODABLE as problem:
        text = f"{file} cannot be decoded completely ({plain_words(problem)}): a truncated or damaged picture"
        raise InputError(text) from problem
    if mode not in ("RGB", "L"):
        raise InputError(f"{file} is a picture of mode {mode}, expected RGB with 8 bits a channel")
    if num_pictures > 1 and kind != "MPO":  # a JPEG with a second picture behind it, as some cameras write them
        raise InputError(f"{file} is an animation of {num_pictures} pictures, expected a JPEG")
    return size, f"{kind} {mode}"
