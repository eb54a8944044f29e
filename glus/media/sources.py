"""The frames of a clip, wherever they come from: a folder, a picture, a film, or images in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from glus.errors import InputError
from glus.media.films import FilmFrames
from glus.media.folders import list_frame_files
from glus.media.pictures import PICTURE_SUFFIXES, read_frame, read_picture, shown_as_rgb

logger = logging.getLogger(__name__)

Frames = Sequence[Image.Image] | np.ndarray | str | Path
EXPECTED = "PIL images, one array uint8 [T, H, W, 3], or the path of a film, a picture or a folder of pictures"


@dataclass(frozen=True, eq=False)
class FrameSource(Sequence[Image.Image]):
    """T frames of one size, upright RGB, each read when it is asked for: a sequence of PIL images.

    `source[i]` reads one frame (a film seeks, or goes on from where it is), iterating reads forward, and
    `source[a:b:k]` is a source of some of the frames. Nothing but a bounded number of frames is held.

    Attributes:
        name: what messages call it.
        path: the folder or file; None for images in memory.
        size: width and height as shown, pixels.
        frame_names: T names: of the files of a folder without suffix, otherwise `00000`, `00001` ...
        indices: place of each frame among all frames of the folder or film.
        times_s: when each frame is shown, seconds on the clock of the film's player; None where there is no clock.
        end_s: when the last frame stops being shown.
        rate: frames per second of the whole film as its file says it; None where there is no clock.
        has_sound: whether the film has a sound track.
        warnings: what was left out or chosen, one sentence each; they are logged when the source is opened.
    """

    name: str
    path: Path | None
    size: tuple[int, int]
    frame_names: tuple[str, ...]
    indices: range
    read: Callable[[int], Image.Image]
    times_s: tuple[float, ...] | None = None
    end_s: float | None = None
    rate: Fraction | None = None
    has_sound: bool = False
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> FrameSource: ...
    def __getitem__(self, index: int | slice) -> Image.Image | FrameSource:
        if isinstance(index, slice):
            return self._part(index)
        return self.read(self.indices[index])

    def __iter__(self) -> Iterator[Image.Image]:
        return map(self.read, self.indices)

    def _part(self, part: slice) -> FrameSource:
        """Some frames, forwards; the last one is shown until the next one that would have been chosen."""
        chosen = range(len(self))[part]
        if chosen.step < 1 or not chosen:
            raise ValueError(f"{self.name}: frames are taken forwards, and at least one")
        times, end = self.times_s, self.end_s
        if times is not None:
            following = chosen[-1] + chosen.step
            end = times[following] if following < len(times) else end
            times = tuple(times[index] for index in chosen)
        names = tuple(self.frame_names[index] for index in chosen)
        return replace(self, frame_names=names, indices=self.indices[part], times_s=times, end_s=end)


def open_frames(frames: Frames) -> FrameSource:
    """The frames of a clip, examined: each is there, whole and of the size of the first.

    Args:
        frames: a folder of pictures (in the order of their numbers), a picture, a film, PIL images (turned as their
            EXIF orientation says), or uint8 [T, H, W, 3].

    Raises:
        InputError: nothing there, no frames in it, frames that are damaged or differ in size, or another kind of thing.
    """
    if isinstance(frames, FrameSource):
        return frames
    source = _open_path(Path(frames)) if isinstance(frames, (str, Path)) else _in_memory(frames)
    for sentence in source.warnings:
        logger.warning("warning: %s", sentence)
    return source


def _open_path(path: Path) -> FrameSource:
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; a film, a picture or a folder of pictures is expected.")
    return _of_files(path, [path], []) if path.suffix.lower() in PICTURE_SUFFIXES else _open_film(path)


def _open_folder(path: Path) -> FrameSource:
    files, left_out = list_frame_files(path)
    return _of_files(path, [path / file for file in files], left_out)


def _of_files(path: Path, files: Sequence[Path], warnings: Sequence[str]) -> FrameSource:
    sizes = [read_picture(file).image.size for file in files]
    _require_one_size(str(path), [file.name for file in files], sizes)
    return FrameSource(
        name=str(path),
        path=path,
        size=sizes[0],
        frame_names=tuple(file.stem for file in files),
        indices=range(len(files)),
        read=lambda index: read_frame(files[index]),
        warnings=tuple(warnings),
    )


def _open_film(path: Path) -> FrameSource:
    film = FilmFrames(path)
    facts = film.facts
    return FrameSource(
        name=str(path),
        path=path,
        size=facts.showing.size,
        frame_names=number_frames(len(film)),
        indices=range(len(film)),
        read=film.read,
        times_s=facts.times_s,
        end_s=facts.end_s,
        rate=facts.rate,
        has_sound=facts.has_sound,
        warnings=facts.warnings,
    )


def _in_memory(frames: Sequence[Image.Image] | np.ndarray) -> FrameSource:
    if isinstance(frames, np.ndarray):
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise InputError(f"frames: found {frames.dtype} {list(frames.shape)}, expected uint8 [T, H, W, 3].")
        images = [Image.fromarray(frame) for frame in frames]
    else:
        if not isinstance(frames, Iterable):
            raise InputError(f"frames: found {type(frames).__name__}, expected {EXPECTED}.")
        images = [_image(frame, index) for index, frame in enumerate(frames)]
    names = number_frames(len(images))
    _require_one_size("frames", names, [image.size for image in images])
    return FrameSource("frames", None, images[0].size, names, range(len(images)), images.__getitem__)


def _image(frame: object, index: int) -> Image.Image:
    if not isinstance(frame, Image.Image):
        raise InputError(f"frames: number {index} is a {type(frame).__name__}, expected {EXPECTED}.")
    return shown_as_rgb(frame, f"frame {index}")


def number_frames(count: int) -> tuple[str, ...]:
    """Names of frames that have none: `00000`, `00001` ..."""
    return tuple(f"{index:05d}" for index in range(count))


def _require_one_size(name: str, frame_names: Sequence[str], sizes: Sequence[tuple[int, int]]) -> None:
    if not sizes:
        raise InputError(f"{name}: the clip has no frames, at least one is needed.")
    for frame, size in zip(frame_names, sizes, strict=True):
        if size != sizes[0]:
            raise InputError(
                f"{name} mixes sizes: {frame} is {size[0]}x{size[1]}, the frames before it are"
                f" {sizes[0][0]}x{sizes[0][1]}; all frames must be of one size."
            )
