"""Instances of the YouTube-VIS form (LV-VIS as published) as expressions: one for each category of a video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import ijson

from glus.staging.faults import Fault, error
from glus.staging.files.expression_lists import check_frame_names, check_text, check_video_id
from glus.staging.files.json_files import AS_PUBLISHED, key_repeated
from glus.staging.files.json_streams import damaged, stream_list
from glus.staging.files.paths import leads_out, led_out
from glus.staging.raw import InstanceFile, RawExpression, RawSplit, RawVideo


def load_instances(root: Path, file: str, split: str) -> RawSplit:
    """Reads the videos, categories and annotations of a file; an expression's id is that of its category.

    The file is read as a stream, since it holds the masks too.
    """
    raw = RawSplit(file, "published instances")
    if leads_out(root, file):
        raw.faults.append(led_out(file, ""))
        return raw
    try:
        names = {
            item["id"]: item["name"]
            for item in _records(root, file, "categories", {"id": int, "name": str}, raw.faults)
        }
        videos = {
            record["id"]: video
            for record in _records(root, file, "videos", {"id": int, "file_names": list}, raw.faults)
            if (video := _video(root, file, split, record, raw.faults))
        }
        grouped: dict[tuple[int, int], list[str]] = defaultdict(list)
        keys = {"id": int, "video_id": int, "category_id": int}
        for item in _records(root, file, "annotations", keys, raw.faults):
            grouped[item["video_id"], item["category_id"]].append(str(item["id"]))
    except ijson.JSONError as broken:
        raw.faults.append(damaged(root, file, broken))
        return raw
    raw.videos = sorted(videos.values(), key=lambda video: video.video_id)
    raw.expressions = list(_expressions(file, videos, names, grouped, raw.faults))
    raw.masks = InstanceFile.of(file, raw.expressions)
    return raw


def _records(
    root: Path, file: str, name: str, keys: Mapping[str, type], faults: list[Fault]
) -> Iterator[dict[str, Any]]:
    """The records of a list of the file that have the given keys, of the given types."""
    count, ids = -1, set()
    for count, record in enumerate(stream_list(root / file, name)):
        wrong = [key for key, kind in keys.items() if not isinstance(record, dict) or type(record.get(key)) is not kind]
        if not wrong and not key_repeated(record) and record["id"] not in ids:
            ids.add(record["id"])
            yield record
            continue
        if not wrong:
            twice = f"the key {key_repeated(record)!r}" if key_repeated(record) else f"the id {record['id']}"
            problem = f"entry {count} of {name} has {twice} more than once, or shares it with an entry before"
            faults.append(error(file, f"{name} {count}", problem, AS_PUBLISHED))
            continue
        wanted = ", ".join(f"{key} ({kind.__name__})" for key, kind in keys.items())
        problem = f"entry {count} of {name} has no usable {', '.join(wrong)}; expected {wanted}"
        faults.append(error(file, f"{name} {count}", problem, AS_PUBLISHED))
    if count < 0:
        faults.append(error(file, "", f"{file} has no list '{name}', or an empty one", AS_PUBLISHED))


def _video(root: Path, file: str, split: str, record: dict[str, Any], faults: list[Fault]) -> RawVideo | None:
    """A video's name and frames from its `file_names`: the last two parts of each, Windows paths included."""
    place = f"video {record['id']}"
    paths = [PurePosixPath(name.replace("\\", "/")) for name in record["file_names"] if isinstance(name, str)]
    folders = {path.parent.name for path in paths}
    if len(paths) < len(record["file_names"]) or len(folders) != 1:
        problem = f"file_names of video {record['id']} do not name the frames of one folder"
        faults.append(error(file, place, problem, AS_PUBLISHED))
        return None
    (video_id,) = folders
    frame_names = [path.stem for path in paths]
    if not check_video_id(file, video_id, faults) or not check_frame_names(file, video_id, frame_names, faults):
        return None
    images = f"{split}/JPEGImages" if (root / split / "JPEGImages").is_dir() else split
    return RawVideo(video_id, tuple(frame_names), f"{images}/{video_id}")


def _expressions(
    file: str,
    videos: dict[int, RawVideo],
    names: dict[int, str],
    grouped: dict[tuple[int, int], list[str]],
    faults: list[Fault],
) -> Iterator[RawExpression]:
    for (number, category), ids in sorted(grouped.items()):
        if number not in videos:
            problem = f"annotations {', '.join(ids[:5])} belong to video {number}, which is not listed or faulty"
            faults.append(error(file, f"video {number}", problem, AS_PUBLISHED))
            continue
        video_id, text = videos[number].video_id, names.get(category)
        if text is None:
            problem = f"{video_id} has annotations of category {category}, which has no name in {file}"
            faults.append(error(file, f"video {video_id}", problem, AS_PUBLISHED))
        elif check_text(file, video_id, str(category), text, faults):
            text = text.replace("_", " ")
            yield RawExpression(video_id, str(category), text, tuple(ids), tuple(ids))
