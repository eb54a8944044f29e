"""Videos of your own as one film file: examined, and unpacked to frames when they are staged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import Image

from glus.errors import InputError
from glus.files import hash_file
from glus.media.film_examination import examine_film
from glus.media.films import FilmFrames
from glus.media.pictures import read_frame
from glus.media.sources import number_frames
from glus.staging.faults import error, problem_with, warning
from glus.staging.files.expression_lists import warn_of_few_frames
from glus.staging.files.frames import FrameCheck
from glus.staging.raw import RawVideo

JPEG_QUALITY = 95
ANOTHER_FILM = "Convert the film, or unpack it to JPEG frames yourself"


def check_film(root: Path, listed_in: str, video: RawVideo) -> FrameCheck:
    """Decodes a film to its end; its frames are called `00000` and so on."""
    file, record = str(video.film), f"video {video.video_id}"
    check = FrameCheck()
    try:
        film = examine_film(root / file)
    except InputError as problem:
        check.faults.append(error(file, record, problem_with(problem, root / file, file), ANOTHER_FILM))
        return check
    for sentence in film.warnings:
        text = problem_with(sentence, root / file, file)
        check.faults.append(warning(file, record, text, "Check that this is meant"))
    check.frame_names = number_frames(film.num_frames)
    warn_of_few_frames(listed_in, video.video_id, film.num_frames, check.faults)
    width, height = film.showing.size
    check.size_px = height, width
    check.sha256 = hash_file(root / file)
    return check


def has_to_be_unpacked(video: RawVideo) -> bool:
    """Whether the frames of a video are not what is staged: files `<name>.jpg`."""
    return bool(video.film) or not all(file.endswith(".jpg") for file in video.frame_files())


def unpack_videos(root: Path, videos: list[RawVideo], target: Path) -> Iterator[RawVideo]:
    """Puts the frames of all videos below `target/JPEGImages`, JPEG copied and others decoded; one video at a time.

    Frames of films and of other formats become JPEG of quality 95 without colour subsampling.
    """
    for video in videos:
        unpacked = replace(video, frame_dir=f"JPEGImages/{video.video_id}", film=None, files=None)
        folder = target / unpacked.frame_dir
        folder.mkdir(parents=True)
        if video.film:
            film = FilmFrames(root / video.film)
            for index, name in enumerate(video.frame_names):
                _save(film.read(index), folder / f"{name}.jpg")
        else:
            for name, file in zip(video.frame_names, video.frame_files(), strict=True):
                if file.endswith(".jpg"):
                    shutil.copyfile(root / file, folder / f"{name}.jpg")
                else:
                    _save(read_frame(root / file), folder / f"{name}.jpg")
        yield unpacked


def _save(picture: Image.Image, path: Path) -> None:
    picture.save(path, quality=JPEG_QUALITY, subsampling=0)
