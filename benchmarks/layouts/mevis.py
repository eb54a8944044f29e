"""A split in MeViS's published layout, of any size: ragged objects on frames that the caller draws."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

WIDTH = 854  # pixels


def write_split(
    folder: Path,
    num_videos: int,
    num_frames: int,
    num_objects: int,
    height: int,
    write_frame: Callable[[Path, int, int], None],
) -> None:
    """Writes frames, expressions (one for each object, one for all) and masks, one video after the other.

    Args:
        height: of the frames, pixels; run lengths are equally long whatever it is.
        write_frame: path, number of the video, number of the frame.
    """
    names = [f"{frame:05d}" for frame in range(num_frames)]
    videos = {}
    for video in range(num_videos):
        annotations = [video * num_objects + number for number in range(num_objects)]
        said = [[number] for number in range(num_objects)] + [list(range(num_objects))]
        videos[f"{video:012x}"] = {
            "vid_id": video,
            "frames": names,
            "expressions": {
                str(key): {"exp": f"the thing {key}", "obj_id": objects, "anno_id": [annotations[n] for n in objects]}
                for key, objects in enumerate(said)
            },
        }
        frames = folder / "JPEGImages" / f"{video:012x}"
        frames.mkdir(parents=True)
        for frame, name in enumerate(names):
            write_frame(frames / f"{name}.jpg", video, frame)
    (folder / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    with (folder / "mask_dict.json").open("w") as file:
        opening = "{"
        for annotation, track in enumerate(_tracks(num_videos * num_objects, num_frames, height)):
            file.write(f'{opening}"{annotation}": {json.dumps(track)}')
            opening = ", "
        file.write("}")


def _tracks(count: int, num_frames: int, height: int) -> Iterator[list[dict[str, object] | None]]:
    """An object that moves, in most frames; its run lengths are about as long as MeViS's (1 kB)."""
    generator = np.random.default_rng(0)
    for _ in range(count):
        width = int(generator.integers(150, 550))
        left = generator.integers(0, WIDTH - width, num_frames)
        present = generator.random(num_frames) < 0.95
        yield [
            _mask(height, start, width, generator) if seen else None for start, seen in zip(left, present, strict=True)
        ]


def _mask(height: int, left: int, width: int, generator: np.random.Generator) -> dict[str, object]:
    """A blob whose outline is ragged, as of hair or leaves."""
    columns = np.arange(left, left + width) * height
    edges = np.empty(2 * width, dtype=int)
    edges[::2] = columns + height // 3 + generator.integers(-12, 12, width)
    edges[1::2] = columns + 2 * height // 3 + generator.integers(-12, 12, width)
    runs = np.diff(edges, prepend=0, append=height * WIDTH)
    packed = coco.frPyObjects({"size": [height, WIDTH], "counts": runs.tolist()}, height, WIDTH)
    return {"size": [height, WIDTH], "counts": packed["counts"].decode()}
