"""A raw split examined: its lists, every frame and every mask, in parallel and in a fixed order."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from glus.errors import InputError
from glus.execution.processes import Pool, process_pool
from glus.execution.progress import Display, show_bar
from glus.staging.exclusion import leave_out
from glus.staging.faults import Fault, error, errors, warning
from glus.staging.files.expression_lists import MIN_TRAINING_FRAMES, expression_place
from glus.staging.files.frames import Size
from glus.staging.files.mask_files import Row, read_mask_dict
from glus.staging.files.paths import LinkedRoot, is_file_name
from glus.staging.raw import MaskDict, MaskFolder, RawSplit
from glus.staging.readers.registry import reader
from glus.staging.videos import EVERYTHING, Depth, VideoCheck, VideoChecker

Keep = Callable[[str, list[Row]], None]  # takes rows of one video


@dataclass
class ExaminedSplit:
    """A raw split with what was found in its files.

    Attributes:
        sizes: height and width of each video that could be opened.
        frames_sha256: hash over the bytes of all frames.
        faults: everything that is wrong, lists first, then videos, then masks.
    """

    raw: RawSplit
    sizes: dict[str, Size]
    frames_sha256: str
    faults: list[Fault]


@contextmanager
def worker_pool(workers: int) -> Iterator[Pool | None]:
    """Processes to examine with, or None where this process does it alone."""
    if workers <= 1:
        yield None
        return
    with process_pool(workers) as pool:
        yield pool


def check_dataset(name: str, root: Path, split: str, workers: int = 1, links: Sequence[str | Path] = ()) -> list[Fault]:
    """Every fault of a raw split, as staging finds them. Arguments and errors: see `examine`.

    Args:
        links: folders that symbolic links of the dataset may lead into.
    """
    with worker_pool(workers) as pool:
        return examine(name, LinkedRoot.of(root, links), split, pool).faults


def examine(
    dataset: str,
    root: Path,
    split: str,
    pool: Pool | None = None,
    progress: Display = show_bar,
    keep: Keep = lambda video_id, rows: None,
    *,
    exclude: Sequence[str] = (),
    kept: Path | None = None,
    depth: Depth = EVERYTHING,
) -> ExaminedSplit:
    """Reads a split's lists, opens every frame and reads every mask.

    Args:
        root: its folder; a `LinkedRoot` where symbolic links may lead out of it.
        keep: takes the rows of the table `masks`, without dataset and split, some of one video at a time and in no
            particular order; they are not held here.
        exclude: patterns of videos to leave out.
        kept: folder for what was found in each video, so that an interrupted run resumes. A `mask_dict.json` is read
            in one pass, which starts again.
        depth: how much of the files is read.

    Raises:
        MissingError: the dataset or the split is not there at all.
        InputError: there is no dataset of that name, or the split's is none.
    """
    if not is_file_name(split):
        raise InputError(f"{split!r} is not the name of a split.")
    raw = reader(dataset).load(root, split)
    leave_out(raw, exclude)
    raw.faults.extend(_listed_twice(raw))
    raw.faults.extend(_never_spoken_of(raw))
    faults, sizes, digest = list(raw.faults), {}, hashlib.sha256()
    seen: dict[str, set[str]] = {}  # annotations that the masks of a video show, where all of them are there
    checked = _check_videos(raw, pool, VideoChecker(root, raw.file, kept, depth))
    checks = progress(checked, f"videos of {dataset}/{split}", total=len(raw.videos))
    for number, (video, check) in enumerate(zip(list(raw.videos), checks, strict=True)):
        raw.videos[number] = replace(video, frame_names=check.frame_names)
        keep(video.video_id, check.rows)
        faults.extend(check.faults)
        digest.update(check.frames_sha256.encode())
        if check.size_px:
            sizes[video.video_id] = check.size_px
        if not errors(check.faults):
            seen[video.video_id] = {row["annotation_id"] for row in check.rows}
    if isinstance(raw.masks, MaskDict):
        known: set[str] = set()
        videos = {video.video_id: video for video in raw.videos}
        tracks = read_mask_dict(root, raw.masks, videos, sizes, known, faults)
        total = sum(len(owners) for owners in raw.masks.owners.values())
        for video_id, rows in progress(tracks, f"masks of {dataset}/{split}", total=total):
            keep(video_id, rows)
        faults.extend(_unknown_annotations(raw, known, Path(raw.masks.file).name))
        faults.extend(_shared_annotations(raw.file, raw.masks))
    elif raw.masks is not None and depth.masks:
        faults.extend(_objects_never_seen(raw, seen))
        faults.extend(_objects_never_named(raw, seen))
    return ExaminedSplit(raw, sizes, digest.hexdigest(), list(dict.fromkeys(faults)))


def _check_videos(raw: RawSplit, pool: Pool | None, checker: VideoChecker) -> Iterable[VideoCheck]:
    folders: dict[str, list[MaskFolder]] = defaultdict(list)
    for folder in raw.masks if isinstance(raw.masks, list) else ():
        folders[folder.video_id].append(folder)
    items = [(video, tuple(folders[video.video_id])) for video in raw.videos]
    return map(checker, items) if pool is None else pool.map(partial(partial, checker), items)


def _listed_twice(raw: RawSplit) -> Iterator[Fault]:
    """Ids that stand for two videos, or for two expressions of one."""
    videos = Counter(f"video {video.video_id}" for video in raw.videos)
    expressions = Counter(expression_place(item.video_id, item.expression_id) for item in raw.expressions)
    for place, count in (videos | expressions).items():
        if count > 1:
            yield error(
                raw.file, place, f"{place} is listed {count} times", "List it once, or give each an id of its own"
            )


def _never_spoken_of(raw: RawSplit) -> Iterator[Fault]:
    """Videos without expressions, in one fault."""
    spoken_of = {expression.video_id for expression in raw.expressions}
    if silent := [video.video_id for video in raw.videos if video.video_id not in spoken_of]:
        problem = f"{len(silent)} videos have no usable expressions: {', '.join(silent[:5])}"
        yield warning(raw.file, "", problem, "They are staged, but never trained on, segmented or scored")


def _unknown_annotations(raw: RawSplit, known: set[str], mask_file: str) -> Iterator[Fault]:
    for expression in raw.expressions:
        for annotation_id in expression.annotation_ids:
            if annotation_id not in known:
                place = f"{expression.video_id} expression {expression.expression_id}"
                problem = f"{place} refers to anno_id {annotation_id} which is not in {mask_file}"
                record = expression_place(expression.video_id, expression.expression_id)
                yield error(raw.file, record, problem, "Take both files from the same release")


def _shared_annotations(file: str, masks: MaskDict) -> Iterator[Fault]:
    for annotation_id, videos in masks.owners.items():
        if len(videos) > 1:
            problem = f"anno_id {annotation_id} is used by the videos {', '.join(videos)}, so they have the same masks"
            yield warning(file, f"video {videos[1]}", problem, "Check the ids: annotations belong to one video")


def _objects_never_seen(raw: RawSplit, seen: dict[str, set[str]]) -> Iterator[Fault]:
    """Objects of expressions that no mask shows.

    An error where pixel values are objects, so that the number is wrong; an object may be absent from the folder of its
    own, and from the frames of a video that is too short to train on.
    """
    numbered = isinstance(raw.masks, list) and all(folder.annotation_id is None for folder in raw.masks)
    short = {video.video_id for video in raw.videos if len(video.frame_names) < MIN_TRAINING_FRAMES}
    for expression in raw.expressions:
        for annotation_id in expression.annotation_ids:
            if expression.video_id in seen and annotation_id not in seen[expression.video_id]:
                place = f"{expression.video_id} expression {expression.expression_id}"
                problem = f"{place} refers to object {annotation_id} which no annotation of the video shows"
                record = expression_place(expression.video_id, expression.expression_id)
                fault = error if numbered and expression.video_id not in short else warning
                yield fault(raw.file, record, problem, "Check the object's number, or leave the video out")


def _objects_never_named(raw: RawSplit, seen: dict[str, set[str]]) -> Iterator[Fault]:
    """Objects of masks that no expression names, in one fault: Refer-YouTube-VOS is published with 71 of them."""
    named: dict[str, set[str]] = defaultdict(set)
    for expression in raw.expressions:
        named[expression.video_id].update(expression.annotation_ids)
    unnamed = [(video_id, item) for video_id, ids in seen.items() for item in sorted(ids - named[video_id])]
    if unnamed:
        video_id, item = unnamed[0]
        problem = f"{len(unnamed)} objects of the masks are named by no expression, such as {item} of {video_id}"
        yield warning(raw.file, f"video {video_id}", problem, "They are staged and never referred to")
