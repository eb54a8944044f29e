"""Label Studio's JSON: tasks of single frames with brushes and polygons."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from glus.errors import InputError
from glus.masks import encode_rle
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
from glus.own.readers.brush import decode_brush
from glus.own.readers.coco import united
from glus.own.videos import VideoFolder
from glus.staging.faults import shown
from glus.staging.files.json_files import entries

BOXES = ("rectangle", "rectanglelabels", "videorectangle")
UNREAD = ("ellipse", "keypoint", "vector", "bitmask")  # and the same with `labels` behind it
LABELS = ("brushlabels", "polygonlabels", "labels")
UPLOADED = "/data/upload/"


def read(labels: Path, videos: VideoFolder) -> list[AnnotatedVideo]:
    """The videos of an export (format JSON).

    A task is a frame: `data.image` names it, and its folder is the video, or `data.video` beside it. Regions of one
    label are one object. Frames without a task were not labelled; a task whose annotation is empty shows no object.

    Raises:
        InputError: something is missing, damaged or no mask; names the file and the task.
    """
    opened: dict[str, FrameSource] = {}
    places: dict[str, dict[int, str]] = defaultdict(dict)
    parts: dict[str, dict[str, dict[int, list[str]]]] = defaultdict(dict)
    for task in records(read_json(labels), str(labels)):
        where = f"{labels}, task {task.get('id')}"
        results = _results(task, where)
        if results is None:
            continue
        for result in results:
            if result.get("type") in BOXES:
                raise InputError(BOXES_ONLY.format(labels, f"task {task.get('id')}"))
        name, frames, at = _frame(task, videos, where)
        opened[name] = frames
        take_frame(places[name], at, frames, where)
        labelled = {result.get("id") for result in results if _labels(result)}
        for result in results:
            if "id" in result and result["id"] in labelled and not _labels(result):
                continue  # a region whose label is a result of its own (the tags Brush and Labels), which repeats it
            if (found := _region(result, frames, where)) is not None:
                parts[name].setdefault(found[0], {}).setdefault(at, []).append(found[1])
    return [
        AnnotatedVideo(
            name,
            opened[name],
            tuple(sorted(places[name])),
            tuple(AnnotatedTrack(label, label, united(masks, opened[name])) for label, masks in found.items()),
        )
        for name, found in parts.items()
    ]


def _results(task: dict[str, Any], where: str) -> list[dict[str, Any]] | None:
    """What was drawn; None where nobody has labelled the task."""
    if "annotations" not in task:
        raise InputError(f"{where} has no annotations. Export it as JSON, not as JSON-MIN.")
    annotations = [
        item for item in records(task["annotations"], f"{where}, annotations") if item.get("was_cancelled") is not True
    ]
    if len(annotations) > 1:
        raise InputError(f"{where} has {len(annotations)} annotations, which may differ. Keep one of them.")
    return list(records(annotations[0].get("result"), f"{where}, result")) if annotations else None


def _frame(task: dict[str, Any], videos: VideoFolder, where: str) -> tuple[str, FrameSource, int]:
    """The frame that a task shows: its video, all its frames, and its place among them."""
    data = entries(task.get("data"))
    if "image" not in data:
        raise InputError(
            f"{where}, data has {', '.join(map(shown, data)) or 'nothing'}, expected image. Call the frame so in the"
            ' labelling configuration (value="$image") and in the tasks.'
        )
    address = urlsplit(text_of(data, "image", f"{where}, data"))
    local = parse_qs(address.query).get("d")  # files that Label Studio serves from a folder
    path = path_in(local[0] if local else unquote(address.path))
    if "video" in data:
        said = text_of(data, "video", f"{where}, data")
    elif str(path).startswith(UPLOADED) or str(path.parent) in (".", "/"):
        raise InputError(
            f"{where}: {shown(str(path))} does not tell which video it is a frame of. Add `video` to the task's data,"
            " or import frames from folders that bear the names of their videos."
        )
    else:
        said = str(path.parent).lstrip("/")
    name, frames = videos.find(said, where)
    file = path.name.split("-", 1)[-1] if str(path).startswith(UPLOADED) else path.name  # uploads get a random prefix
    return name, frames, place_of(frames, file, where)


def _labels(result: dict[str, Any]) -> Any:
    """The labels of a region, whichever tag gave them."""
    value = entries(result.get("value"))
    return next((value[key] for key in LABELS if key in value), None)


def _region(result: dict[str, Any], frames: FrameSource, where: str) -> tuple[str, str] | None:
    """Label and mask of what was drawn; None for what is nothing drawn, such as a choice."""
    kind, value = str(result.get("type")), entries(result.get("value"))
    place = f"{where}, region {result.get('id')}"
    if kind.removesuffix("labels") in UNREAD:
        raise InputError(f"{place} is of type {kind}, expected a brush or a polygon. Draw it as one, or leave it out.")
    if "rle" not in value and "points" not in value:
        return None
    names = _labels(result)
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise InputError(f"{place} has the labels {shown(names)}, expected one. Give it one label.")
    if result.get("image_rotation") not in (None, 0):
        raise InputError(f"{place} was drawn on a turned picture. Turn it back in Label Studio, and draw it again.")
    width, height = frames.size
    if "rle" not in value:
        points = value.get("points")
        if not isinstance(points, list) or not all(_is_point(point) for point in points):
            raise InputError(f"{place} has points {shown(points)}, expected x, y in percent. Export it again.")
        polygon = [number for x, y in points for number in (x * width / 100, y * height / 100)]
        counts = read_mask([polygon], frames, place)
        return None if counts is None else (names[0], counts)
    size = result.get("original_width"), result.get("original_height")
    if size != (width, height):
        raise InputError(
            f"{place} is of {size[0]}x{size[1]} pixels while the frame is {width}x{height}. Label the same file."
        )
    try:
        if not isinstance(value["rle"], list):
            raise InputError("holds no list of bytes")
        return names[0], encode_rle(decode_brush(value["rle"], height, width))
    except InputError as problem:
        raise InputError(f"{place}: the brush {problem}. Export it again.") from problem


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(type(number) in (int, float) for number in point)
