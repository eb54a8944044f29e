"""The layout of lmms-eval's `rvos_*` tasks: a row of Parquet for each sentence, a JSON of run lengths for each object.

Source: EvolvingLMMs-Lab/lmms-eval, tasks/rvos, and what it needs of its data sets once their zips are unpacked:

    data/<split>[-00000-of-00001].parquet          id, video, expression, height, width, n_frames, mask_ids, ...
    masks/<video>/<mask id>.json                   {"<object>": [run lengths or null for each frame]}
    videos/<video>.mp4                             not needed for scores
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.ndimage import distance_transform_edt

from glus.errors import InputError, name_some
from glus.files import write_json
from glus.masks import decode_rle
from glus.records.ground_truth import GroundTruth
from glus.records.video import Expression, Video
from glus.staging.files.mask_entries import read_entry
from glus.staging.files.paths import is_file_name, is_inside, require_no_link_out

RELEASE = "lmms-eval"
TASKS = {"ref_davis17": "ref-davis17", "refer_youtube_vos": "ref-yt-vos"}  # what ids begin with, by which it goes
FPS = 6  # of the films, which its second stage takes apart at this rate
SAMPLING_FPS = 1  # frames per second that a model is asked about
COLUMNS = ("id", "video", "expression", "height", "width", "n_frames", "mask_ids")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("qid", pa.string()),
        ("video", pa.string()),
        ("expression", pa.string()),
        ("fps", pa.int64()),
        ("sampling_fps", pa.int64()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("n_frames", pa.int64()),
        ("frame_trajectories", pa.string()),
        ("mask_ids", pa.list_(pa.string())),
    ]
)


@dataclass
class LmmsSplit:
    """A split as it is read: videos and sentences, and masks by video, mask id and frame index."""

    videos: dict[str, Video]
    expressions: dict[str, list[Expression]]
    tracks: dict[str, dict[str, dict[int, str]]]


def find_tables(root: Path, split: str) -> list[Path]:
    """The tables of a split, `<split>.parquet` or its shards; none where this is another layout.

    Raises:
        InputError: a shard is missing.
    """
    if not (root / "masks").is_dir() or not is_file_name(split):
        return []
    name = re.compile(rf"{re.escape(split)}(?:-(\d+)-of-(\d+)(?:-[0-9a-f]+)?)?\.parquet")
    found = {path: name.fullmatch(path.name) for folder in (root / "data", root) for path in folder.glob("*.parquet")}
    tables = {path: match for path, match in found.items() if match}
    numbers = {int(match[1]) for match in tables.values() if match[1]}
    for path, match in tables.items():
        if match[2] and (missing := sorted(set(range(int(match[2]))) - numbers)):
            raise InputError(
                f"{path} is one of {int(match[2])} shards, and {name_some([f'{number:05d}' for number in missing])} of"
                f" them is not in {path.parent}. Download the split again."
            )
    return sorted(tables)


def read_lmms_split(root: Path, tables: Iterable[Path]) -> LmmsSplit:
    """Reads a split; sentences are called by their `id`, frames by their number, from 00000.

    A mask file may be shorter than its video, which then shows the object no more, as lmms-eval takes it.

    Raises:
        InputError: a table or a mask file cannot be used; names it, and the row or the frame.
    """
    found = LmmsSplit({}, {}, {})
    for path in tables:
        for row in _rows(path):
            video = _video(path, row)
            if found.videos.setdefault(video.video_id, video) != video:
                raise InputError(f"{path}: rows of video {video.video_id} name several sizes or numbers of frames.")
            said = found.expressions.setdefault(video.video_id, [])
            if any(item.expression_id == row["id"] for item in said):
                raise InputError(f"{path}: id {row['id']} of video {video.video_id} is there twice.")
            names = tuple(dict.fromkeys(row["mask_ids"]))
            said.append(Expression(video.video_id, row["id"], row["expression"], names, names, None))
            tracks = found.tracks.setdefault(video.video_id, {})
            for name in names:
                if name not in tracks:
                    tracks[name] = _read_masks(root, video, name)
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is no Parquet file that can be read ({error}).") from error
    if absent := [name for name in COLUMNS if name not in table.column_names]:
        raise InputError(f"{path} lacks the columns {', '.join(absent)} of lmms-eval's rvos tasks.")
    return table.to_pylist()


def _video(path: Path, row: Mapping[str, Any]) -> Video:
    video_id, numbers = row["video"], [row[name] for name in ("n_frames", "height", "width")]
    names = row["mask_ids"]
    if not is_inside(video_id) or not is_file_name(row["id"]) or not all(map(is_file_name, names or ())):
        raise InputError(
            f"{path}: row {row['id']!r} of video {video_id!r} holds a name that leads out of the data set."
        )
    if names is None or not isinstance(row["expression"], str) or not all(type(n) is int and n > 0 for n in numbers):
        found = ", ".join(f"{name}: {row[name]!r}" for name in COLUMNS[2:])
        raise InputError(f"{path}: row {row['id']} needs a text, whole numbers above 0 and a list; it has {found}.")
    num_frames, height, width = numbers
    frames = tuple(f"{index:05d}" for index in range(num_frames))
    return Video(video_id, num_frames, height, width, frames, f"videos/{video_id}", ())


def _read_masks(root: Path, video: Video, name: str) -> dict[int, str]:
    file = f"masks/{video.video_id}/{name}.json"
    require_no_link_out(root, file)
    try:
        content = json.loads((root / file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{root / file} cannot be read ({error.strerror}); unpack masks.zip again.") from error
    except ValueError as error:
        raise InputError(f"{root / file} is not valid JSON ({error}).") from error
    tracks = list(content.values()) if isinstance(content, dict) else []
    if len(tracks) != 1 or not isinstance(tracks[0], list) or len(tracks[0]) > video.num_frames:
        raise InputError(
            f"{root / file} has to hold one object with a mask or null for each of at most {video.num_frames} frames."
        )
    masks = {}
    for index, entry in enumerate(tracks[0]):
        try:
            counts = read_entry(entry, (video.height_px, video.width_px))
        except InputError as problem:
            raise InputError(f"{root / file}, frame {index} {problem}.") from problem
        if counts:
            masks[index] = counts
    return masks


def write_lmms_split(truth: GroundTruth, folder: Path) -> int:
    """Writes the sentences and masks of a split, without films, below `folder`; returns the number of sentences."""
    rows: list[dict[str, Any]] = []
    for video in truth.videos.values():
        tracks = truth.mask_rles(video.video_id)
        size = [video.height_px, video.width_px]
        for number, (name, track) in enumerate(tracks.items()):
            masks = [{"size": size, "counts": track[at]} if at in track else None for at in range(video.num_frames)]
            write_json({str(number): masks}, folder / "masks" / video.video_id / f"{name}.json")
        for item in truth.expressions[video.video_id]:
            names = [name for name in item.annotation_ids if name in tracks]
            rows.append(
                {
                    "id": f"{TASKS.get(truth.dataset, truth.dataset)}_track_{len(rows)}",
                    "qid": item.expression_id,
                    "video": video.video_id,
                    "expression": item.text,
                    "fps": FPS,
                    "sampling_fps": SAMPLING_FPS,
                    "height": video.height_px,
                    "width": video.width_px,
                    "n_frames": video.num_frames,
                    "frame_trajectories": json.dumps(_trajectories(video, [tracks[name] for name in names])),
                    "mask_ids": names,
                }
            )
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "data" / f"{truth.split}.parquet")
    return len(rows)


def _trajectories(video: Video, tracks: list[Mapping[int, str]]) -> list[dict[str, Any]]:
    """A point well inside each object in the frames that a model is asked about, x and y in pixels."""
    entries = []
    for frame in range(0, video.num_frames, FPS // SAMPLING_FPS):
        points = []
        for number, track in enumerate(tracks):
            mask = decode_rle(track[frame], video.height_px, video.width_px) if frame in track else np.zeros(1, bool)
            if mask.any():
                y, x = np.unravel_index(distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1].argmax(), mask.shape)
                points.append({"id": number, "point": [int(x), int(y)], "occluded": False})
        entries.append({"frame": frame, "time": frame / FPS, "points": points})
    return entries
