"""Frames of a raw video: every one is opened, decoded in full and hashed, because a bad one shows up nowhere else."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from glus.staging.faults import Fault, error
from glus.staging.lists import missing_folder
from glus.staging.raw import RawVideo


@dataclass
class FrameCheck:
    """What a video's frames turned out to be; the size is None where no frame could be opened."""

    size_px: tuple[int, int] | None = None  # height, width
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
    for name in video.frame_names:
        _check_frame(root, listed_in, video, name, check, digest)
    check.sha256 = digest.hexdigest()
    return check


def _check_frame(
    root: Path, listed_in: str, video: RawVideo, name: str, check: FrameCheck, digest: hashlib._Hash
) -> None:
    file = f"{video.frame_dir}/{name}.jpg"
    record = f"video {video.video_id}, frame {name}"
    path = root / file
    again = "Unpack or download the frame again"
    if not path.is_file():
        problem = f"frame {name} of video {video.video_id} is listed in {listed_in} but {file} does not exist"
        check.faults.append(error(file, record, problem, again))
        return
    content = path.read_bytes()
    digest.update(hashlib.sha256(content).digest())
    if not content:
        check.faults.append(error(file, record, f"{file} is empty (0 bytes)", again))
        return
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            size = image.height, image.width
    except (OSError, SyntaxError, Image.DecompressionBombError) as problem:
        text = f"{file} cannot be decoded completely ({problem}): a truncated or damaged picture"
        check.faults.append(error(file, record, text, again))
        return
    if check.size_px is None:
        check.size_px = size
    elif check.size_px != size:
        text = f"frame is {size[1]}x{size[0]}, the frames before it are {check.size_px[1]}x{check.size_px[0]}"
        check.faults.append(error(file, record, text, "Give all frames of a video one size"))
