"""Folders of indexed PNG: `<video>/<frame>.png`, pixel value = object, as `--format palette` writes them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from glus.errors import InputError
from glus.masks import encode_rle, read_index_png
from glus.media.sources import FrameSource
from glus.own.labels import AnnotatedTrack, AnnotatedVideo, place_of, take_frame
from glus.own.videos import VideoFolder
from glus.staging.files.paths import leads_out

VOID = 255  # belongs to nothing, but where nothing else is drawn: then pictures are black and white


def read(labels: Path, videos: VideoFolder) -> list[AnnotatedVideo]:
    """The videos of a folder of folders. Frames without a file were not labelled; objects are called by their value.

    A video whose pictures hold nothing but 0 and 255 has one object, 255.

    Raises:
        InputError: something is missing, damaged, or of another size; names the file.
    """
    folders = sorted({path.parent for path in labels.rglob("*") if _is_label(path)})
    if not folders:
        raise InputError(f"{labels} holds no <video>/<frame>.png. Name the folder that holds a folder for each video.")
    return [_read(labels, folder, videos) for folder in folders]


def _read(labels: Path, folder: Path, videos: VideoFolder) -> AnnotatedVideo:
    said = folder.relative_to(labels).as_posix()
    name, frames = videos.find(said, str(folder))
    tracks: dict[int, dict[int, str]] = defaultdict(dict)
    labelled: dict[int, str] = {}
    for file in sorted(filter(_is_label, folder.iterdir())):
        if leads_out(labels, file.relative_to(labels).as_posix()):
            raise InputError(f"{file} is a symbolic link out of {labels}. Put the files themselves there.")
        take_frame(labelled, at := place_of(frames, file.name, str(folder)), frames, str(file))
        pixels = read_sized(file, frames)
        for value in np.unique(pixels).tolist():
            if value:
                tracks[value][at] = encode_rle(pixels == value)
    if not tracks:
        raise InputError(f"{folder}: all pictures are black, so that no object is labelled. Take the folder out.")
    if len(tracks) > 1:
        tracks.pop(VOID, None)
    return AnnotatedVideo(
        name,
        frames,
        tuple(sorted(labelled)),
        tuple(AnnotatedTrack(str(value), "", masks) for value, masks in sorted(tracks.items())),
    )


def _is_label(path: Path) -> bool:
    return path.suffix.lower() == ".png" and not path.name.startswith(".")


def read_sized(file: Path, frames: FrameSource) -> np.ndarray:
    """Values of an indexed or grey PNG of the frames' size, uint8 [H, W].

    Raises:
        InputError: it is damaged, a colour picture, or of another size.
    """
    try:
        pixels = read_index_png(file)
    except InputError as problem:
        raise InputError(f"{problem}. Save it again as an indexed or grey PNG.") from problem
    width, height = frames.size
    if pixels.shape != (height, width):
        raise InputError(
            f"{file} is {pixels.shape[1]}x{pixels.shape[0]}, its frame {width}x{height}. Save it at the frame's size."
        )
    return pixels
