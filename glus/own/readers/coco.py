"""COCO's JSON: for videos (YouTube-VIS), and for images, as CVAT exports frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from glus.errors import InputError
from glus.masks import decode_rle, encode_rle, union
from glus.media.sources import FrameSource
from glus.own.labels import (
    BOXES_ONLY,
    AnnotatedTrack,
    AnnotatedVideo,
    path_in,
    place_of,
    read_json,
    read_mask,
    records,
    take_frame,
    text_of,
)
from glus.own.videos import VideoFolder
from glus.staging.faults import shown


def read(labels: Path, videos: VideoFolder) -> list[AnnotatedVideo]:
    """The videos of a file.

    An annotation of a video is an object, and is called by its category, or by its own `expression` where it has one.
    Annotations of images are one object where `track_id` (their own, or among `attributes`, as CVAT writes it) is the
    same, and otherwise where the category is. The folder of an image is its video; without one that is the file's name.

    Raises:
        InputError: something is missing, damaged or no mask; names the file and the record.
    """
    content = read_json(labels)
    if not isinstance(content, dict) or not ({"videos", "images"} & content.keys()):
        raise InputError(f"{labels} has neither videos nor images, expected COCO's JSON. Export it as COCO.")
    categories = {
        text_of(item, "id", f"{labels}, categories"): text_of(item, "name", f"{labels}, categories")
        for item in records(content.get("categories", []), f"{labels}, categories")
    }
    annotations = list(records(content.get("annotations"), f"{labels}, annotations"))
    if "videos" in content:
        return _of_videos(labels, content["videos"], annotations, categories, videos)
    return _of_images(labels, content["images"], annotations, categories, videos)


def _of_videos(
    labels: Path, listed: Any, annotations: list[dict[str, Any]], categories: dict[str, str], videos: VideoFolder
) -> list[AnnotatedVideo]:
    owned = _by_owner(labels, annotations, "video_id")
    found = []
    for record in records(listed, f"{labels}, videos"):
        number = text_of(record, "id", f"{labels}, videos")
        place = f"{labels}, video {number}"
        files = record.get("file_names")
        if files is not None and not (
            isinstance(files, list) and files and all(isinstance(file, str) for file in files)
        ):
            raise InputError(f"{place} has file_names {shown(files)}, expected a list of names. Export it again.")
        said = text_of(record, "name", place) if "name" in record or not files else path_in(files[0]).parent.name
        name, frames = videos.find(said, place)
        places = {} if files else dict.fromkeys(range(len(frames)), place)
        for file in files or ():
            take_frame(places, place_of(frames, path_in(file).name, place), frames, f"{place}, {file}")
        tracks = [_track(labels, item, frames, places, categories) for item in owned.pop(number, [])]
        if tracks:
            found.append(AnnotatedVideo(name, frames, tuple(sorted(places)), tuple(tracks)))
    _require_owners(labels, owned, "video")
    return found


def _track(
    labels: Path, item: dict[str, Any], frames: FrameSource, places: Collection[int], categories: dict[str, str]
) -> AnnotatedTrack:
    number = text_of(item, "id", f"{labels}, annotations")
    where = f"{labels}, annotation {number}"
    entries = item.get("segmentations")
    if not isinstance(entries, list) or len(entries) != len(places):
        found = f"{len(entries)} entries" if isinstance(entries, list) else shown(entries)
        raise InputError(
            f"{where} has segmentations {found}, expected a mask or null for each of {len(places)} frames."
            " Export it again."
        )
    if not any(entries) and any(item.get("bboxes") or ()):
        raise InputError(BOXES_ONLY.format(labels, f"annotation {number}"))
    masks = {
        at: counts
        for at, entry in zip(places, entries, strict=True)
        if (counts := read_mask(entry, frames, f"{where}: frame {frames.frame_names[at]}")) is not None
    }
    said = item.get("expression")
    return AnnotatedTrack(number, said if isinstance(said, str) else _category(where, item, categories), masks)


def _of_images(
    labels: Path, listed: Any, annotations: list[dict[str, Any]], categories: dict[str, str], videos: VideoFolder
) -> list[AnnotatedVideo]:
    owned = _by_owner(labels, annotations, "image_id")
    opened: dict[str, FrameSource] = {}
    places: dict[str, dict[int, str]] = defaultdict(dict)
    parts: dict[str, dict[tuple[str, str], dict[int, list[str]]]] = defaultdict(dict)
    for record in records(listed, f"{labels}, images"):
        number = text_of(record, "id", f"{labels}, images")
        where = f"{labels}, image {number}"
        file = path_in(text_of(record, "file_name", where))
        name, frames = _video_of(labels, file, videos, where)
        opened[name] = frames
        at = place_of(frames, file.name, where)
        take_frame(places[name], at, frames, where)
        for item in owned.pop(number, []):
            key = _object(f"{where}, annotation {item.get('id')}", item, categories)
            if not item.get("segmentation") and item.get("bbox"):
                raise InputError(BOXES_ONLY.format(labels, f"image {file}"))
            counts = read_mask(item.get("segmentation"), frames, f"{where} ({file})")
            if counts is not None:
                parts[name].setdefault(key, {}).setdefault(at, []).append(counts)
    _require_owners(labels, owned, "image")
    return [
        AnnotatedVideo(name, opened[name], tuple(sorted(places[name])), tuple(tracks))
        for name, found in parts.items()
        if (tracks := [AnnotatedTrack(*key, united(masks, opened[name])) for key, masks in found.items()])
    ]


def _video_of(labels: Path, file: PurePosixPath, videos: VideoFolder, where: str) -> tuple[str, FrameSource]:
    if str(file.parent) != ".":
        return videos.find(str(file.parent), where)
    try:
        return videos.find(labels.stem, where)
    except InputError as problem:
        raise InputError(
            f"{where} lies in no folder, so its video is taken to bear the name of the file of labels. {problem} Rename"
            f" {labels.name} to the video's name, such as film.json."
        ) from problem


def united(parts: dict[int, list[str]], frames: FrameSource) -> dict[int, str]:
    """One mask for each frame, of all its parts."""
    width, height = frames.size
    return {
        at: several[0] if len(several) == 1 else encode_rle(
            union((decode_rle(counts, height, width) for counts in several), height, width)
        )
        for at, several in parts.items()
    }  # fmt: skip


def _object(where: str, item: dict[str, Any], categories: dict[str, str]) -> tuple[str, str]:
    """Name and label of the object that an annotation of an image belongs to."""
    attributes = item.get("attributes")
    known = {**(attributes if isinstance(attributes, dict) else {}), **item}
    label = _category(where, item, categories)
    return (str(known["track_id"]) if known.get("track_id") is not None else label), label


def _category(where: str, item: dict[str, Any], categories: dict[str, str]) -> str:
    number = text_of(item, "category_id", where)
    if number not in categories:
        raise InputError(f"{where} has category_id {number}, which is not among the categories. Export it again.")
    return categories[number]


def _by_owner(labels: Path, annotations: list[dict[str, Any]], key: str) -> dict[str, list[dict[str, Any]]]:
    owned: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in annotations:
        owned[text_of(item, key, f"{labels}, annotation {item.get('id')}")].append(item)
    return owned


def _require_owners(labels: Path, left: dict[str, list[dict[str, Any]]], kind: str) -> None:
    for number, items in left.items():
        raise InputError(
            f"{labels}, annotation {items[0].get('id')} is of {kind} {number}, which is not listed. Export it again."
        )
