"""Zips for the benchmarks' servers, which keep their ground truth: written always alike, and checked before they go.

Layouts: MeViS `<video>/<expression>/<frame>.png`, Refer-YouTube-VOS `Annotations/<video>/<expression>/<frame>.png`; one
8-bit grey PNG of 0 and 255 at the source's size for each listed frame, and nothing else.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from glus.errors import InputError, name_some, plain_words
from glus.evaluation.answers import Answers, PngTrack, decode_masks
from glus.evaluation.completeness import describe_missing, find_missing
from glus.evaluation.predictions import expressions_by_key
from glus.execution.processes import map_in_processes
from glus.execution.progress import show_bar
from glus.masks import encode_mask_png
from glus.metrics.scoring import Track
from glus.records.ground_truth import GroundTruth
from glus.records.video import Video

FOLDERS = {"mevis": "", "refer_youtube_vos": "Annotations/"}
SERVER_SPLITS = ("valid", "test")  # whose masks the owners of these datasets keep
FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # of every entry: equal masks give equal bytes
READABLE = 0o644 << 16
# what zipfile and PIL raise on damaged, encrypted or oversized entries
UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    EOFError,
    RuntimeError,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)
MAX_OVERHEAD = 1 << 16  # bytes that a PNG may be larger than its pixels


def server_folder(dataset: str) -> str:
    """The folder that a dataset's server expects everything in, with its slash.

    Raises:
        InputError: the dataset has no server.
    """
    if dataset not in FOLDERS:
        raise InputError(f"There is no server format for {dataset}; there are {' and '.join(FOLDERS)}.")
    return FOLDERS[dataset]


def has_server(dataset: str, split: str) -> bool:
    """Whether the owners keep a split's masks and score what is sent to them."""
    return dataset in FOLDERS and split in SERVER_SPLITS


@dataclass(frozen=True)
class Submission:
    """What a zip has to hold.

    Attributes:
        folder: that everything lies in, with its slash.
    """

    truth: GroundTruth
    folder: str

    def files(self, video: Video) -> list[str]:
        """The files of a video, in order."""
        return [
            f"{self.folder}{video.video_id}/{expression.expression_id}/{frame}.png"
            for expression in self.truth.expressions[video.video_id]
            for frame in video.frame_names
        ]


def write_submission(submission: Submission, answers: Answers, target: Path, processes: int) -> None:
    """Writes a zip, always the same bytes for the same masks. It is not checked yet.

    Raises:
        InputError: the predictions are incomplete or a file cannot be used; names it.
    """
    truth = submission.truth
    expected = {key: truth.videos[key[0]].num_frames for key in expressions_by_key(truth)}
    missing = find_missing(expected, answers.frames())
    if missing:
        raise InputError(
            f"{len(missing)} of {len(expected)} expressions are incomplete, and the server would take them for wrong:"
            f" {name_some(describe_missing(missing, expected))}. Add what is missing; nothing was written."
        )
    jobs = (_Job.of(submission, answers, video) for video in truth.videos.values())
    encoded = map_in_processes(partial(partial, _encode), jobs, min(processes, len(truth.videos)))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for files in show_bar(encoded, f"masks of {truth.dataset}/{truth.split}", total=len(truth.videos)):
            for name, content in files:
                entry = zipfile.ZipInfo(name, FIRST_TIME)
                entry.external_attr, entry.create_system = READABLE, 3
                archive.writestr(entry, content)


@dataclass(frozen=True)
class _Job:
    video: Video
    names: list[str]
    tracks: list[Track | PngTrack]

    @classmethod
    def of(cls, submission: Submission, answers: Answers, video: Video) -> _Job:
        expressions = submission.truth.expressions[video.video_id]
        tracks = [answers.tracks[video.video_id, item.expression_id] for item in expressions]
        return cls(video, submission.files(video), tracks)


def _encode(job: _Job) -> list[tuple[str, bytes]]:
    masks = (mask for track in job.tracks for _, mask in decode_masks(track, job.video))
    return [(name, encode_mask_png(mask)) for name, mask in zip(job.names, masks, strict=True)]


def check_submission(submission: Submission, source: Path, processes: int) -> int:
    """Checks names, counts, sizes and values of a zip; returns how many masks it holds.

    Raises:
        InputError: it is no zip, or it is not what the server takes; gives the reasons.
    """
    truth = submission.truth
    expected = {video_id: submission.files(video) for video_id, video in truth.videos.items()}
    wanted = [name for names in expected.values() for name in names]
    faults = _wrong_names(_names(source), wanted, submission.folder)
    if not faults:
        jobs = ((source, truth.videos[video_id], names) for video_id, names in expected.items())
        checked = map_in_processes(partial(partial, _check_video), jobs, min(processes, len(truth.videos)))
        shown = show_bar(checked, f"checking {source.name}", total=len(expected))
        faults = [fault for found in shown for fault in found]
    if faults:
        raise InputError(f"{source} would not be scored as it should: {name_some(faults)}.")
    return len(wanted)


def _names(source: Path) -> list[str]:
    """The files of a zip; entries for folders are left out."""
    try:
        with zipfile.ZipFile(source) as archive:
            return [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (OSError, ValueError, NotImplementedError, struct.error, zipfile.BadZipFile) as error:
        raise InputError(f"{source} is not a readable zip ({error}).") from error


def _wrong_names(found: Sequence[str], wanted: Sequence[str], folder: str) -> list[str]:
    repeated = [name for name, count in Counter(found).items() if count > 1]
    present, needed = set(found), set(wanted)
    missing = [name for name in wanted if name not in present]
    beyond = sorted(present - needed)
    faults = [f"{name} is in it more than once" for name in repeated]
    if beyond and missing and len(missing) == len(needed):
        faults.append(f"nothing lies where it is expected, e.g. {missing[0]}; found {beyond[0]}")
        if all("/" in name and name.split("/", 1)[1] in needed for name in beyond):
            faults.append(f"everything lies one level too deep, below {beyond[0].split('/', 1)[0]}/")
        elif folder and all(f"{folder}{name}" in needed for name in beyond):
            faults.append(f"everything has to lie below {folder}")
        return faults
    if missing:
        faults.append(f"{len(missing)} of {len(needed)} masks are missing, first {missing[0]}")
    return faults + [f"{name} does not belong there" for name in beyond]


def _check_video(job: tuple[Path, Video, list[str]]) -> list[str]:
    source, video, names = job
    with zipfile.ZipFile(source) as archive:
        return [fault for name in names for fault in _check_mask(archive, name, video)]


def _check_mask(archive: zipfile.ZipFile, name: str, video: Video) -> Iterator[str]:
    size = video.height_px, video.width_px
    entry = archive.getinfo(name)
    if entry.file_size > size[0] * size[1] * 2 + MAX_OVERHEAD:
        yield f"{name} has {entry.file_size} bytes, too many for a mask"
        return
    try:
        with Image.open(io.BytesIO(archive.read(entry)), formats=["PNG"]) as image:
            found, mode = (image.height, image.width), image.mode
            if found != size:
                yield f"{name} is {found[0]} x {found[1]} pixels, the frame is {size[0]} x {size[1]}"
                return
            pixels = np.asarray(image)
    except UNREADABLE as error:
        yield f"{name} cannot be read ({plain_words(error)})"
        return
    if mode != "L":
        yield f"{name} is a picture of mode {mode}, 8-bit grey is needed"
    elif not np.isin(pixels, (0, 255)).all():
        others = np.setdiff1d(pixels, (0, 255))
        yield f"{name} holds the value {others[0]}, only 0 and 255 are allowed"
