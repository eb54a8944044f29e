"""Labelled videos in the layout of `own` (docs/datasets.md): written aside, examined, put in place whole."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from glus.errors import InputError, name_some
from glus.execution.progress import show_bar
from glus.files import replace_by_text
from glus.media.folders import list_frame_files
from glus.own.labels import AnnotatedVideo
from glus.own.regions import Regions
from glus.own.sentences import Said
from glus.publishing import publish
from glus.reporting.palette import colour_of
from glus.staging.checks import check_dataset
from glus.staging.faults import errors, shown
from glus.staging.readers.own import COLUMNS, TABLES

TRAIN, HELD_OUT = "train", "valid"
JPEG_QUALITY = 95  # as staging unpacks films


def hold_out(names: Sequence[str], share: float) -> set[str]:
    """The videos to compare by, drawn by their names alone: at least one, and never all.

    Raises:
        InputError: there is only one video.
    """
    if len(names) < 2:
        raise InputError(
            f"{name_some(names)} is the only labelled video, so nothing is left to compare by. Label at least two"
            " videos, or cut it into two."
        )
    drawn = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return set(drawn[: min(max(1, round(share * len(names))), len(names) - 1)])


def require_once(videos: Sequence[AnnotatedVideo]) -> None:
    """Each video is labelled in one place.

    Raises:
        InputError: one is labelled twice: which of the two is right is not known.
    """
    names = [video.name for video in videos]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"{name_some(twice)} is labelled twice. Keep one of the two, or, where they are parts, export them as one."
        )


def create(folder: Path, videos: Sequence[AnnotatedVideo], said: Mapping[str, Said], held_out: set[str]) -> None:
    """Writes a new dataset.

    Raises:
        InputError: the folder is there already, or something in it cannot be trained on.
    """
    if folder.exists():
        raise InputError(f"{folder} exists already; name another folder, or `glus own add` more videos to it.")
    with beside(folder) as aside:
        _write(aside, videos, said, held_out)
        publish(aside, folder)


def add(folder: Path, videos: Sequence[AnnotatedVideo], said: Mapping[str, Said]) -> None:
    """Adds videos to the part that is trained on; the held-out part stays, so that scores can be compared.

    Raises:
        InputError: the folder is no dataset of `create`, has one of the videos, or one cannot be trained on.
    """
    if not (folder / TRAIN / TABLES[0]).is_file():
        raise InputError(f"{folder} has no {TRAIN}/{TABLES[0]}; name a folder that `glus own init` wrote.")
    for split in (TRAIN, HELD_OUT):
        table = folder / split / TABLES[0]
        there = {row["video"] for row in _rows(table)} if table.is_file() else set()
        if twice := sorted(there & {video.name for video in videos}):
            raise InputError(
                f"{folder}/{split} has {name_some(twice)} already. Remove it there (its rows in {table}, its folders in"
                " Annotations and JPEGImages or Videos), or give the new video another name."
            )
    with beside(folder) as aside:
        shutil.copytree(folder, aside, copy_function=_link)
        _write(aside, videos, said, set())
        publish(aside, folder)


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """The path of a new folder on the same disk as another; it vanishes in the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _link(source: str, target: str) -> None:
    """Files stay as they are, but for the table, which is replaced and not written to."""
    try:
        os.link(source, target)
    except OSError:  # a disk without links
        shutil.copy2(source, target)


def _write(folder: Path, videos: Sequence[AnnotatedVideo], said: Mapping[str, Said], held_out: set[str]) -> None:
    rows: dict[str, list[list[str]]] = {}
    for video in show_bar(videos, "videos", total=len(videos)):
        _require_seen(video, said[video.name])
        split = HELD_OUT if video.name in held_out else TRAIN
        _write_frames(folder / split, video)
        regions = _write_masks(folder / split / "Annotations" / video.name, video)
        rows.setdefault(split, []).extend(
            [video.name, sentence, " ".join(map(str, regions.of(tracks)))]
            for sentence, tracks in said[video.name].items()
        )
    for split, new in rows.items():
        table = folder / split / TABLES[0]
        before = [[row[name] for name in COLUMNS] for row in _rows(table)] if table.is_file() else []
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *before, *new])
        replace_by_text(table, text.getvalue())
        if found := errors(check_dataset("own", folder, split)):
            raise InputError(f"Nothing was written. {name_some([str(fault).rstrip('.') for fault in found])}.")


def _require_seen(video: AnnotatedVideo, said: Said) -> None:
    for sentence, tracks in said.items():
        if not any(video.tracks[at].masks for at in tracks):
            raise InputError(
                f"{video.name}: {shown(sentence)} is about what is drawn in no frame. Draw it in one, or take it out of"
                " the labels."
            )


def _rows(table: Path) -> list[dict[str, str]]:
    """The rows of a table as it is read again.

    Raises:
        InputError: it is damaged.
    """
    try:
        return [
            {str(key).strip(): value.strip() for key, value in row.items()}
            for row in csv.DictReader(
                io.StringIO(table.read_text(encoding="utf-8-sig"), newline=""), skipinitialspace=True
            )
            if row["video"] is not None and row["objects"] is not None
        ]
    except (OSError, ValueError, KeyError, AttributeError, csv.Error) as problem:
        raise InputError(f"{table} cannot be read ({problem}). `glus check --dataset own` tells more.") from problem


def _write_frames(folder: Path, video: AnnotatedVideo) -> None:
    """The labelled frames: files as they are where that is possible."""
    source = video.frames.path
    if source is None:
        raise InputError(f"{video.name} is no folder and no film.")
    whole = len(video.labelled) == len(video.frames)
    if source.is_file() and whole:
        target = folder / "Videos" / f"{video.name}{source.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        return
    target = folder / "JPEGImages" / video.name
    target.mkdir(parents=True)
    files = None if source.is_file() else list_frame_files(source)[0]
    for place in video.labelled:
        if files is not None:
            shutil.copy2(source / files[place], target / files[place])
        else:
            video.frames[place].save(target / f"{video.frames.frame_names[place]}.jpg", quality=JPEG_QUALITY)


def _write_masks(folder: Path, video: AnnotatedVideo) -> Regions:
    folder.mkdir(parents=True)
    regions = Regions(video)
    palette = [0, 0, 0, *(value for number in range(255) for value in colour_of(number))]
    for place in video.labelled:
        picture = Image.fromarray(regions.picture(place), "P")
        picture.putpalette(palette)
        picture.save(folder / f"{video.frames.frame_names[place]}.png")
    return regions
