"""Frames in: one image file, a folder of images, a video file, arrays or PIL images, always as RGB pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from PIL import Image

from glus.errors import InputError

Frames = Sequence[Image.Image] | np.ndarray | str | Path
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_frame(path: Path) -> Image.Image:
    """Reads one frame completely, as RGB.

    Raises:
        InputError: the file is missing, or cannot be decoded to its end.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be decoded completely: {error}.") from error


def load_frames(source: Frames) -> list[Image.Image]:
    """All frames of a clip, in order.

    Args:
        source: PIL images, uint8 [T, H, W, 3], a folder of images (read in name order), or a video file.

    Raises:
        InputError: nothing there, no frames in it, frames of different sizes, or an array of another kind.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        frames = _from_folder(path) if path.is_dir() else _from_video(path)
    elif isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 4 or source.shape[-1] != 3:
            raise InputError(f"frames: found {source.dtype} {list(source.shape)}, expected uint8 [T, H, W, 3].")
        frames = [Image.fromarray(frame) for frame in source]
    else:
        frames = [frame.convert("RGB") for frame in source]
    if not frames:
        raise InputError("frames: the clip has no frames, at least one is needed.")
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        raise InputError(
            f"frames: the clip mixes sizes {sorted(sizes)} (width, height); all frames must be of one size."
        )
    return frames


def _from_folder(path: Path) -> list[Image.Image]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise InputError(f"{path} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return [read_frame(file) for file in files]


def _from_video(path: Path) -> list[Image.Image]:
    if not path.is_file():
        raise InputError(f"{path} does not exist; a video file or a folder of images is expected.")
    try:
        with av.open(str(path)) as container:
            return [frame.to_image() for frame in container.decode(video=0)]
    except (av.error.FFmpegError, IndexError) as error:
        raise InputError(f"{path} cannot be read as a video: {error}.") from error
