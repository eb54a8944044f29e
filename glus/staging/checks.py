"""A raw split examined: its lists, every frame and every mask, in parallel and in a fixed order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from glus.parallel import die_with_parent
from glus.staging.faults import Fault, error, warning
from glus.staging.frames import check_frames
from glus.staging.mask_files import Keep, Row, Size, read_mask_dict, read_mask_folder
from glus.staging.raw import MaskDict, MaskFolder, RawSplit, RawVideo
from glus.staging.readers import reader

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]  # items, what they are, how many


@dataclass
class ExaminedSplit:
    """A raw split with what was found in its files.

    Attributes:
        sizes: height and width of each video that could be opened.
        frames_sha256: hash over the bytes of all frames.
        faults: everything that is wrong, lists first, then frames, then masks.
    """

    raw: RawSplit
    sizes: dict[str, Size]
    frames_sha256: str
    faults: list[Fault]


@contextmanager
def worker_pool(workers: int) -> Iterator[Executor | None]:
    """Processes to examine with, or None where this process does it alone."""
    if workers <= 1:
        yield None
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), die_with_parent, (os.getpid(),)) as pool:
        yield pool


def check_dataset(name: str, root: Path, split: str, workers: int = 1) -> list[Fault]:
    """Every fault of a raw split, as staging finds them.

    Raises:
        InputError: the dataset or the split is not there at all.
    """
    with worker_pool(workers) as pool:
        return examine(name, root, split, pool).faults


def examine(
    dataset: str,
    root: Path,
    split: str,
    pool: Executor | None = None,
    progress: Progress = lambda items, description, total: items,
    keep: Keep = lambda video_id, rows: None,
) -> ExaminedSplit:
    """Reads a split's lists, opens every frame and reads every mask.

    Args:
        keep: takes the rows of the table `masks`, without dataset and split, some of one video at a time and in no
            particular order; they are not held here.

    Raises:
        InputError: the dataset or the split is not there at all.
    """
    raw = reader(dataset).load(root, split)
    faults = list(raw.faults)
    checks = _each(partial(check_frames, root, raw.file), raw.videos, pool)
    checked = list(zip(raw.videos, progress(checks, f"frames of {dataset}/{split}", len(raw.videos)), strict=True))
    faults.extend(fault for _, check in checked for fault in check.faults)
    sizes = {video.video_id: check.size_px for video, check in checked if check.size_px}
    digest = hashlib.sha256("".join(check.sha256 for _, check in checked).encode()).hexdigest()
    _read_masks(root, raw, sizes, pool, faults, keep)
    return ExaminedSplit(raw, sizes, digest, list(dict.fromkeys(faults)))


def _each(job: Callable[..., Any], items: list[Any], pool: Executor | None) -> Iterable[Any]:
    return map(job, items) if pool is None else pool.map(job, items, chunksize=8)


def _read_masks(
    root: Path, raw: RawSplit, sizes: dict[str, Size], pool: Executor | None, faults: list[Fault], keep: Keep
) -> None:
    videos = {video.video_id: video for video in raw.videos}
    if raw.masks is None:
        return
    if isinstance(raw.masks, MaskDict):
        known = read_mask_dict(root, raw.masks, videos, sizes, faults, keep)
        faults.extend(_unknown_annotations(raw, known, Path(raw.masks.file).name))
        return
    folders = [folder for folder in raw.masks if folder.video_id in sizes]
    job = partial(_read_folder, root, raw.file)
    results = _each(job, [(item, videos[item.video_id], sizes[item.video_id]) for item in folders], pool)
    seen: set[tuple[str, str]] = set()
    sound = set(sizes)
    for folder, (rows, found) in zip(folders, results, strict=True):
        keep(folder.video_id, rows)
        seen.update((folder.video_id, row["annotation_id"]) for row in rows)
        faults.extend(found)
        if found:
            sound.discard(folder.video_id)
    faults.extend(_objects_never_seen(raw, seen, sound))


def _read_folder(root: Path, listed_in: str, item: tuple[MaskFolder, RawVideo, Size]) -> tuple[list[Row], list[Fault]]:
    return read_mask_folder(root, listed_in, *item)


def _unknown_annotations(raw: RawSplit, known: set[str], mask_file: str) -> Iterator[Fault]:
    for expression in raw.expressions:
        for annotation_id in expression.annotation_ids:
            if annotation_id not in known:
                place = f"{expression.video_id} expression {expression.expression_id}"
                problem = f"{place} refers to anno_id {annotation_id} which is not in {mask_file}"
                record = f"video {expression.video_id}, expression {expression.expression_id}"
                yield error(raw.file, record, problem, "Take both files from the same release")


def _objects_never_seen(raw: RawSplit, seen: set[tuple[str, str]], videos: set[str]) -> Iterator[Fault]:
    """Objects of expressions about the given videos that no mask shows."""
    for expression in raw.expressions:
        for annotation_id in expression.annotation_ids:
            if expression.video_id in videos and (expression.video_id, annotation_id) not in seen:
                place = f"{expression.video_id} expression {expression.expression_id}"
                problem = f"{place} refers to object {annotation_id} which no annotation of the video shows"
                record = f"video {expression.video_id}, expression {expression.expression_id}"
                yield warning(raw.file, record, problem, "Its masks are empty; check the object's number")
