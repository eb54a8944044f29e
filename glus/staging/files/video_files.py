"""Videos of your own as one film file: counted, checked, and unpacked to frames when they are staged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
from PIL import Image

from glus.errors import InputError
from glus.files import hash_file
from glus.staging.faults import error
from glus.staging.files.frames import FrameCheck
from glus.staging.raw import RawVideo

JPEG_QUALITY = 95
ANOTHER_FILM = "Convert the film, or unpack it to JPEG frames yourself"


def film_frame_names(path: Path) -> list[str]:
    """Names for the frames of a film, `00000` and so on, counted without decoding them.

    Raises:
        InputError: it is not a film, or an empty one.
    """
    with _film(path) as container:
        count = sum(packet.size > 0 for packet in container.demux(video=0))
    if not count:
        raise InputError(f"{path.name} holds no frames")
    return [f"{index:05d}" for index in range(count)]


def check_film(root: Path, video: RawVideo) -> FrameCheck:
    """Decodes a film to its end."""
    file = str(video.film)
    check = FrameCheck()
    count = 0
    try:
        for frame in _pictures(root / file):
            check.size_px = check.size_px or (frame.height, frame.width)
            if (frame.height, frame.width) != check.size_px:
                raise InputError(f"{file} changes its picture size at frame {count}")
            count += 1
    except InputError as problem:
        check.faults.append(error(file, f"video {video.video_id}, frame {count}", str(problem), ANOTHER_FILM))
        return check
    if count != len(video.frame_names):
        problem_text = f"{file} announces {len(video.frame_names)} frames, but {count} can be decoded"
        check.faults.append(error(file, f"video {video.video_id}", problem_text, ANOTHER_FILM))
    check.sha256 = hash_file(root / file)
    return check


def unpack_films(root: Path, videos: list[RawVideo], target: Path) -> Iterator[RawVideo]:
    """Puts the frames of all videos below `target/JPEGImages`, films decoded and the others copied; one at a time.

    Frames of films become JPEG of quality 95 without colour subsampling.
    """
    for video in videos:
        unpacked = replace(video, frame_dir=f"JPEGImages/{video.video_id}", film=None)
        folder = target / unpacked.frame_dir
        folder.mkdir(parents=True)
        if video.film is None:
            for name in video.frame_names:
                shutil.copyfile(root / video.frame_dir / f"{name}.jpg", folder / f"{name}.jpg")
        else:
            for name, picture in zip(video.frame_names, _pictures(root / video.film), strict=True):
                picture.save(folder / f"{name}.jpg", quality=JPEG_QUALITY, subsampling=0)
        yield unpacked


def _pictures(path: Path) -> Iterator[Image.Image]:
    with _film(path) as container:
        for frame in container.decode(video=0):
            yield frame.to_image()


@contextmanager
def _film(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with av.open(str(path)) as container:
            yield container
    except (av.error.FFmpegError, IndexError, OSError) as problem:
        raise InputError(f"{path.name} cannot be read as a film ({problem})") from problem
