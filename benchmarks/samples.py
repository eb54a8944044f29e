"""What a training sample costs: drawn from the staged tables, and from the published layout with its masks loaded.

Both get the same samples (4 context and 4 query frames, up to 3 expressions) and read frames the same way.
"""

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import torch
from layouts.mevis import WIDTH, write_split
from PIL import Image
from pycocotools import mask as coco
from torch.utils.data import DataLoader

from glus.media.pictures import read_frame
from glus.records.split import StagedSplit
from glus.staging.checks import examine, worker_pool
from glus.staging.spool import MaskSpool
from glus.staging.tables import write_tables
from glus.training.loop.sampling import sample_context_frames, sample_window

NUM_FRAMES = 40
NUM_TIMED, NUM_PER_WORKER = 60, 800
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Made:
    """A set in a folder, raw and staged."""

    folder: Path
    num_videos: int
    num_objects: int
    height: int


@dataclass(frozen=True)
class Draw:
    video_id: str
    context: list[int]
    query: list[int]
    expression_ids: list[str]


def draw(made: Made, number: int) -> Draw:
    generator = np.random.default_rng(number)
    return Draw(
        f"{generator.integers(made.num_videos):012x}",
        sample_context_frames(NUM_FRAMES, 4, generator),
        sample_window(NUM_FRAMES, 4, 0.5, generator),
        [str(key) for key in generator.choice(made.num_objects + 1, 3, replace=False)],
    )


class Staged:
    """Our tables."""

    def __init__(self, made: Made) -> None:
        self.split = StagedSplit(made.folder / "staged/mevis/train", made.folder / "raw")

    def frames(self, sample: Draw) -> list[Image.Image]:
        video = self.split.videos[sample.video_id]
        return [read_frame(self.split.frame_path(video, index)) for index in sample.context + sample.query]

    def masks(self, sample: Draw) -> np.ndarray:
        of_video = {item.expression_id: item for item in self.split.expressions[sample.video_id]}
        chosen = [of_video[key] for key in sample.expression_ids]
        return np.stack([self.split.target_masks(expression, sample.query) for expression in chosen])


class Published:
    """The published layout: both lists in memory, masks decoded one by one and added up."""

    def __init__(self, made: Made) -> None:
        self.folder, self.height = made.folder / "raw/train", made.height
        self.videos = json.loads((self.folder / "meta_expressions.json").read_text())["videos"]
        self.tracks = json.loads((self.folder / "mask_dict.json").read_text())

    def frames(self, sample: Draw) -> list[Image.Image]:
        names = self.videos[sample.video_id]["frames"]
        folder = self.folder / "JPEGImages" / sample.video_id
        return [read_frame(folder / f"{names[index]}.jpg") for index in sample.context + sample.query]

    def masks(self, sample: Draw) -> np.ndarray:
        expressions = self.videos[sample.video_id]["expressions"]
        return np.stack(
            [[self._mask(expressions[key], index) for index in sample.query] for key in sample.expression_ids]
        )

    def _mask(self, expression: dict[str, list[int]], index: int) -> np.ndarray:
        mask = np.zeros((self.height, WIDTH), dtype=np.uint8)
        for annotation in expression["anno_id"]:
            if rle := self.tracks[str(annotation)][index]:
                mask += coco.decode(rle)
        return mask


class Nothing:
    """What a worker needs that reads no masks."""

    def __init__(self, made: Made) -> None:
        pass

    def masks(self, sample: Draw) -> np.ndarray:
        return np.zeros(0)


SOURCES = {"staged tables": Staged, "published layout": Published, "no masks": Nothing}


def write_filmed(folder: Path) -> Made:
    """A set to time: pictures as detailed as a film's (about 80 kB), each another one."""
    made = Made(folder, num_videos=30, num_objects=5, height=480)
    generator = np.random.default_rng(1)
    scene = None

    def write_frame(path: Path, video: int, frame: int) -> None:
        nonlocal scene
        if frame == 0:
            scene = _scene(made.height, generator)
        scene.crop((4 * frame, frame, 4 * frame + WIDTH, frame + made.height)).save(path, quality=90)

    return _write(made, write_frame)


def write_many_masks(folder: Path) -> Made:
    """A set to weigh: low pictures, because only masks are read of it."""
    made = Made(folder, num_videos=300, num_objects=12, height=80)
    folder.mkdir()
    picture = folder / "frame.jpg"
    Image.new("RGB", (WIDTH, made.height), (90, 120, 60)).save(picture)
    return _write(made, lambda path, *_: path.hardlink_to(picture))


def _write(made: Made, write_frame: Callable[[Path, int, int], None]) -> Made:
    write_split(made.folder / "raw/train", made.num_videos, NUM_FRAMES, made.num_objects, made.height, write_frame)
    masks = MaskSpool(made.folder)
    with worker_pool(os.cpu_count() or 1) as pool:
        examined = examine("mevis", made.folder / "raw", "train", pool, keep=masks.add)
    write_tables("mevis", "train", examined, masks, made.folder / "staged/mevis/train")
    size = (made.folder / "raw/train/mask_dict.json").stat().st_size
    print(f"{made.num_videos} videos of {NUM_FRAMES} frames {WIDTH}x{made.height}, mask_dict.json {size / 1e6:.0f} MB")
    return made


def _scene(height: int, generator: np.random.Generator) -> Image.Image:
    size = WIDTH + 4 * NUM_FRAMES, height + NUM_FRAMES
    coarse = Image.fromarray(generator.integers(0, 255, (size[1] // 12, size[0] // 12, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray((pixels + generator.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


def seconds_to_first_masks(name: str, made: Made) -> float:
    start = time.process_time()
    SOURCES[name](made).masks(draw(made, 0))
    return time.process_time() - start


def time_samples(made: Made) -> dict[str, dict[str, float]]:
    """CPU seconds of frames and masks of a sample, the median over samples that the sources draw in turn."""
    sources = {name: SOURCES[name](made) for name in ("staged tables", "published layout")}
    spent: dict[str, dict[str, list[float]]] = {name: {"frames": [], "masks": []} for name in sources}
    for number in range(NUM_TIMED):
        sample, masks = draw(made, number), {}
        for name, source in sorted(sources.items(), reverse=number % 2 == 1):  # the second finds caches warm
            start = time.process_time()
            source.frames(sample)
            between = time.process_time()
            masks[name] = source.masks(sample)
            spent[name]["frames"].append(between - start)
            spent[name]["masks"].append(time.process_time() - between)
        if not ((masks["published layout"] > 0) == masks["staged tables"]).all():
            raise SystemExit(f"sample {number}: the masks differ")
    return {name: {part: float(np.median(values)) for part, values in of.items()} for name, of in spent.items()}


class _Samples(torch.utils.data.Dataset[int]):
    def __init__(self, name: str, made: Made) -> None:
        self.source = SOURCES[name](made)
        self.made = made

    def __getitem__(self, number: int) -> int:
        return int(self.source.masks(draw(self.made, number)).sum())


def memory(name: str, made: Made) -> dict[int, tuple[float, float]]:
    """Memory of all processes, what they share counted once, and the most that a worker shares with none: MiB."""
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    samples = _Samples(name, made)
    found = {}
    for workers in (0, 1, 2, 4):
        loader = DataLoader(
            samples,
            sampler=range(NUM_PER_WORKER * max(1, workers)),
            batch_size=None,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="fork" if workers else None,
        )
        for _ in loader:
            pass
        children = psutil.Process().children(recursive=True)
        of_all = [process.memory_full_info() for process in (psutil.Process(), *children)]
        own = max((info.uss for info in of_all[1:]), default=0)
        found[workers] = sum(info.pss for info in of_all) / MEBIBYTE, own / MEBIBYTE
        del loader
    return found


def main() -> None:
    alone = get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(1, alone, max_tasks_per_child=1) as pool,
    ):
        filmed = write_filmed(Path(name, "filmed"))
        costs = pool.submit(time_samples, filmed).result()
        for source, cost in costs.items():
            print(
                f"  {source:17} frames {1e3 * cost['frames']:5.1f} ms, masks {1e3 * cost['masks']:5.1f} ms a sample:"
                f" {(8 + 12) / sum(cost.values()):4.0f} frames and masks/s"
            )
        ours, theirs = costs["staged tables"], costs["published layout"]
        print(f"  ratio of masks {theirs['masks'] / ours['masks']:.1f}, ", end="")
        print(f"of frames and masks {sum(theirs.values()) / sum(ours.values()):.2f}")
        many = write_many_masks(Path(name, "many"))
        for source in SOURCES:
            first = pool.submit(seconds_to_first_masks, source, many).result()
            found = pool.submit(memory, source, many).result()
            cells = ", ".join(f"{workers}: {total:.0f} ({own:.0f})" for workers, (total, own) in found.items())
            print(f"  {source:17} first masks after {first:.2f} s; MiB by data workers (unshared of one) {cells};")
            print(f"  {'':17} {(found[4][0] - found[0][0]) / 4:.0f} MiB for each worker")


if __name__ == "__main__":
    main()
