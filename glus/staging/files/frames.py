"""Frames of a raw video: every one is opened, decoded in full and hashed, because a bad one shows up nowhere else."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from glus.errors import InputError
from glus.media.folders import HIDDEN
from glus.media.pictures import PICTURE_SUFFIXES, Header, decode_picture, read_header
from glus.staging.faults import Fault, error, problem_with, warning
from glus.staging.files.paths import missing_folder, other_spelling, require_no_link_out
from glus.staging.raw import RawVideo

USUAL = "JPEG RGB"
AGAIN = "Unpack or download the frame again"
UPRIGHT = 1  # EXIF's orientation

Size = tuple[int, int]  # height, width in pixels


@dataclass
class FrameCheck:
    """What a video's frames turned out to be; the size is None where no frame could be opened."""

    frame_names: tuple[str, ...] = ()
    size_px: Size | None = None
    sha256: str = ""
    faults: list[Fault] = field(default_factory=list)


def check_frames(root: Path, listed_in: str, video: RawVideo, pixels: bool = True) -> FrameCheck:
    """Opens all frames of a video; a missing folder is one fault, not one per frame.

    Args:
        listed_in: the list that names the video, for messages.
        pixels: whether they are decoded to their end and hashed, or no more than their headers is read.
    """
    check = FrameCheck(video.frame_names)
    if absent := missing_folder(root, video.frame_dir, video.video_id, listed_in):
        check.faults.append(absent)
        return check
    check.faults.extend(_not_listed(root, listed_in, video))
    digest = hashlib.sha256()
    kinds: dict[str, list[str]] = defaultdict(list)
    stored_turned: list[str] = []
    for name, file in zip(video.frame_names, video.frame_files(), strict=True):
        record = f"video {video.video_id}, frame {name}"
        try:
            path = _find(root, file, name, video.video_id, listed_in)
            picture = _decode(path, file, digest) if pixels else read_header(path, file)
        except InputError as problem:
            check.faults.append(error(file, record, problem_with(problem), AGAIN))
            continue
        if file.endswith(".jpg"):
            kinds[picture.kind].append(file)
        if picture.orientation != UPRIGHT:
            stored_turned.append(file)
        check.size_px = check.size_px or picture.size
        if picture.size != check.size_px:
            check.faults.append(_other_size(file, record, picture.size, check.size_px))
    check.faults.extend(_odd_kinds(video, kinds))
    check.faults.extend(_stored_turned(video, stored_turned))
    check.sha256 = digest.hexdigest()
    return check


def _not_listed(root: Path, listed_in: str, video: RawVideo) -> Iterator[Fault]:
    """Pictures that a list leaves out: public code disagrees on whether they are segmented; here they are not."""
    if video.files is not None:
        return  # there is no list: what the folder holds are the frames
    listed = {Path(file).name for file in video.frame_files()}
    files = {path.name for path in (root / video.frame_dir).iterdir()}
    pointed_at = {Path(name).stem for name in listed - files}  # under another suffix, where frames are opened
    others = sorted(
        name
        for name in files - listed
        if Path(name).suffix.lower() in PICTURE_SUFFIXES
        and not name.startswith(HIDDEN)
        and Path(name).stem not in pointed_at
    )
    if others:
        problem = f"{video.frame_dir} holds {len(others)} frames that {listed_in} does not list, such as {others[0]}"
        yield warning(video.frame_dir, f"video {video.video_id}", problem, "They are left out")


def _other_size(file: str, record: str, size: Size, expected: Size) -> Fault:
    problem = f"frame is {size[1]}x{size[0]}, the frames before it are {expected[1]}x{expected[0]}"
    return error(file, record, problem, "Give all frames of a video one size")


def _odd_kinds(video: RawVideo, kinds: dict[str, list[str]]) -> Iterator[Fault]:
    for kind, files in kinds.items():
        if kind != USUAL:
            example = Path(files[0]).name
            problem = (
                f"{len(files)} frames of {video.video_id} are {kind} pictures, expected {USUAL}, such as {example}"
            )
            yield warning(video.frame_dir, f"video {video.video_id}", problem, "They are read as they are, as RGB")


def _stored_turned(video: RawVideo, files: list[str]) -> Iterator[Fault]:
    if files:
        example = Path(files[0]).name
        problem = f"{len(files)} frames of {video.video_id} are stored turned (EXIF orientation), such as {example}"
        action = "They are read as viewers show them; masks have to lie on the upright pictures"
        yield warning(video.frame_dir, f"video {video.video_id}", problem, action)


def _decode(path: Path, file: str, digest: hashlib._Hash) -> Header:
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise InputError(f"{file} cannot be read ({problem.strerror})") from problem
    digest.update(hashlib.sha256(content).digest())
    picture = decode_picture(content, file)
    return Header((picture.image.height, picture.image.width), picture.kind, picture.orientation)


def _find(root: Path, file: str, name: str, video_id: str, listed_in: str) -> Path:
    path = root / file
    if not path.is_file():
        other = other_spelling(path)
        found = f"; {other} is there, frames have to be JPEG files called .jpg" if other else ""
        raise InputError(f"frame {name} of video {video_id} is listed in {listed_in} but {file} does not exist{found}")
    require_no_link_out(root, file)
    return path
