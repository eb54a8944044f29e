"""CVAT's own XML 1.1: tracks of a video, and images with their shapes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from glus.errors import InputError
from glus.masks import encode_rle
from glus.media.sources import FrameSource
from glus.own.labels import BOXES_ONLY, AnnotatedTrack, AnnotatedVideo, path_in, place_of, read_mask, take_frame
from glus.own.readers.coco import united
from glus.own.readers.cvat_xml import Document, Group, parse, texts
from glus.own.videos import VideoFolder
from glus.staging.faults import shown

_STEP = re.compile(r"step=(\d+)", re.ASCII)
Parts = dict[tuple[str, str], dict[int, list[str]]]  # name and label of an object -> place of a frame -> masks


def read(labels: Path, videos: VideoFolder) -> list[AnnotatedVideo]:
    """The video or the images of an export.

    A track is an object. What has no track, as masks never have in CVAT, is exported as a track of one frame: such, and
    the shapes of images, are one object where label and group are the same. `outside` means that the object is not
    seen, and so does the end of a track; shapes that CVAT put between key frames count like drawn ones.

    The video of tracks is the task's source, or bears the task's name or that of the file; that of an image is its
    folder, or the same.

    Raises:
        InputError: something is missing, damaged or no mask; names the file and the record.
    """
    document = parse(labels)
    tracks = [group for group in document.groups if group.kind == "track"]
    images = [group for group in document.groups if group.kind == "image"]
    if tracks and images:
        raise InputError(f"{labels} holds tracks and images. Export it as CVAT for video, or as CVAT for images.")
    return [_of_tracks(labels, document, tracks, videos)] if tracks else _of_images(labels, document, images, videos)


def _find(labels: Path, document: Document, videos: VideoFolder) -> tuple[str, FrameSource]:
    """The video of a task by whatever it is called.

    Raises:
        InputError: no video is called so, or the export is of several tasks.
    """
    if several := sorted({group.attributes["task_id"] for group in document.groups if "task_id" in group.attributes})[
        1:
    ]:
        raise InputError(
            f"{labels} is of a project with {len(several) + 1} tasks, each of which is a video. Export each task alone."
        )
    names = list(dict.fromkeys([*texts(document, "source", "name"), labels.stem]))
    for name in names:
        try:
            return videos.find(name, str(labels))
        except InputError as problem:
            last = problem
    raise InputError(f"{last} It was looked for as {', '.join(map(shown, names))}.")


def _of_tracks(labels: Path, document: Document, tracks: list[Group], videos: VideoFolder) -> AnnotatedVideo:
    name, frames = _find(labels, document, videos)
    labelled = _labelled(labels, document, frames)
    parts: Parts = {}
    for group in tracks:
        where = f"{labels}, track {group.attributes.get('id')}"
        label = _label(where, group.attributes)
        loose = sum(attributes.get("outside") != "1" for _, attributes in group.shapes) == 1
        key = (_loose_name(label, group.attributes) if loose else group.attributes.get("id", label), label)
        seen = parts.setdefault(key, {})
        for at, kind, attributes in _in_time(where, group, labelled):
            if attributes.get("outside") != "1":
                seen.setdefault(at, []).append(_mask(f"{where}, frame {at}", kind, attributes, frames, labels))
    found = [AnnotatedTrack(*key, united(masks, frames)) for key, masks in parts.items()]
    return AnnotatedVideo(name, frames, tuple(labelled), tuple(found))


def _labelled(labels: Path, document: Document, frames: FrameSource) -> range:
    """Numbers of the frames that the task shows."""
    first = _whole(labels, "start_frame", next(texts(document, "start_frame"), "0"))
    last = _whole(labels, "stop_frame", next(texts(document, "stop_frame"), str(len(frames) - 1)))
    step = _STEP.search(next(texts(document, "frame_filter"), ""))
    shown_frames = range(first, last + 1, int(step[1]) or 1 if step else 1)
    if not shown_frames or shown_frames[-1] >= len(frames):
        raise InputError(
            f"{labels} labels the frames {first} to {last}, but {frames.name} has {len(frames)}. Name the video that"
            " was labelled."
        )
    return shown_frames


def _in_time(where: str, group: Group, labelled: range) -> list[tuple[int, str, dict[str, str]]]:
    """The shapes of a track by frame: each frame once, and none left open between two that show the object."""
    shapes = sorted(
        ((_whole(where, "frame", attributes.get("frame")), kind, attributes) for kind, attributes in group.shapes),
        key=lambda shape: shape[0],
    )
    for at, _, attributes in shapes:
        if at not in labelled and attributes.get("outside") != "1":  # an end may lie behind the last frame
            raise InputError(f"{where} has a shape in frame {at}, which the task does not show. Export it again.")
    for (at, _, attributes), (following, _, _) in pairwise(shapes):
        if following == at:
            raise InputError(f"{where} has two shapes in frame {at}. Keep one of them.")
        if following > at + labelled.step and attributes.get("outside") != "1":
            raise InputError(
                f"{where} says nothing about the frames between {at} and {following}. Export it as CVAT for video 1.1,"
                " which holds the frames between key frames too."
            )
    return shapes


def _of_images(labels: Path, document: Document, images: list[Group], videos: VideoFolder) -> list[AnnotatedVideo]:
    if not images:
        raise InputError(f"{labels} holds no tracks and no images. Export a task that is labelled.")
    opened: dict[str, FrameSource] = {}
    places: dict[str, dict[int, str]] = defaultdict(dict)
    parts: dict[str, Parts] = defaultdict(dict)
    for image in images:
        file = path_in(image.attributes.get("name", ""))
        where = f"{labels}, image {shown(str(file))}"
        in_folder = str(file.parent) != "."
        name, frames = videos.find(str(file.parent), where) if in_folder else _find(labels, document, videos)
        opened[name] = frames
        at = place_of(frames, file.name, where)
        take_frame(places[name], at, frames, where)
        for kind, attributes in image.shapes:
            label = _label(where, attributes)
            key = _loose_name(label, attributes), label
            counts = _mask(where, kind, attributes, frames, labels)
            parts[name].setdefault(key, {}).setdefault(at, []).append(counts)
    return [
        AnnotatedVideo(
            name,
            opened[name],
            tuple(sorted(places[name])),
            tuple(AnnotatedTrack(*key, united(masks, opened[name])) for key, masks in found.items()),
        )
        for name, found in parts.items()
    ]


def _loose_name(label: str, attributes: Mapping[str, str]) -> str:
    """What shapes of one object without a track have in common."""
    group = attributes.get("group_id", "0")
    return label if group in ("", "0") else f"{label}/{group}"


def _label(where: str, attributes: Mapping[str, str]) -> str:
    if not attributes.get("label"):
        raise InputError(f"{where} has no label. Export it again as CVAT 1.1.")
    return attributes["label"]


def _mask(where: str, kind: str, attributes: Mapping[str, str], frames: FrameSource, labels: Path) -> str:
    """A polygon or a mask as compressed run lengths of the whole frame."""
    if kind == "polygon":
        polygon = [number for point in attributes.get("points", "").split(";") for number in _numbers(where, point)]
        counts = read_mask([polygon], frames, where)
        if counts is None:
            raise InputError(f"{where} has a polygon without points. Export it again.")
        return counts
    if kind == "mask":
        return encode_rle(_decode_runs(where, attributes, frames))
    if kind == "box":
        raise InputError(BOXES_ONLY.format(labels, where.removeprefix(f"{labels}, ")))
    raise InputError(f"{where} is of the kind {kind}, expected a polygon or a mask. Draw it as one, or leave it out.")


def _decode_runs(where: str, attributes: Mapping[str, str], frames: FrameSource) -> np.ndarray:
    """A mask of CVAT: runs along the rows of its box, background first; bool [H, W]."""
    box = {key: _whole(where, key, attributes.get(key)) for key in ("left", "top", "width", "height")}
    runs = np.array([_whole(where, "rle", run.strip()) for run in attributes.get("rle", "").split(",")])
    if runs.sum() != box["width"] * box["height"]:
        raise InputError(
            f"{where} has an rle of {runs.sum()} pixels, expected width x height = {box['width']} x {box['height']}."
            " Export it again."
        )
    width, height = frames.size
    if box["left"] + box["width"] > width or box["top"] + box["height"] > height:
        raise InputError(
            f"{where} reaches beyond the frame, which is {width}x{height}. Name the video that was labelled."
        )
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(box["height"], box["width"])
    mask = np.zeros((height, width), dtype=bool)
    mask[box["top"] : box["top"] + box["height"], box["left"] : box["left"] + box["width"]] = inside
    return mask


def _numbers(where: str, point: str) -> list[float]:
    try:
        x, y = map(float, point.split(","))
    except ValueError as problem:
        raise InputError(f"{where} has the point {shown(point)}, expected x,y. Export it again.") from problem
    return [x, y]


def _whole(where: str | Path, key: str, value: str | None) -> int:
    if value is None or not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise InputError(f"{where} has {key} {shown(value)}, expected a whole number from 0. Export it again.")
    return int(value)
