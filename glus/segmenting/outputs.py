"""What is made of a finished table of masks: a summary, an overlay video, and pictures and lists for other tools."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from glus.errors import InputError
from glus.evaluation.exports import coco_document, coco_track
from glus.files import write_json, write_refusal
from glus.masks import decode_rle, write_mask_png
from glus.media.sources import FrameSource
from glus.reporting.palette import colour_of
from glus.reporting.video import USUAL_RATE, overlay_video
from glus.segmenting.requests import Format

logger = logging.getLogger(__name__)

MASKS, RESULT, OVERLAY, COCO = "masks.parquet", "result.json", "overlay.mp4", "coco.json"
MOST_IN_A_PALETTE = 255


@dataclass(frozen=True)
class FinishedVideo:
    """A finished table of masks and what it is of.

    Attributes:
        folder: where it lies, and where all is written.
        clip: T frames.
        sentences: B of them.
        key_frames: for each, its place among the T frames.
    """

    folder: Path
    clip: FrameSource
    sentences: tuple[str, ...]
    key_frames: list[int]


Draw = Callable[[int, np.ndarray], None]  # takes the place of a frame and its masks, bool [B, H, W]


def write_forms(result: FinishedVideo, forms: tuple[Format, ...]) -> None:
    """Writes the forms that are asked for, in one reading of the table.

    Raises:
        InputError: more sentences than a palette has colours.
    """
    if Format.PALETTE in forms and len(result.sentences) > MOST_IN_A_PALETTE:
        raise InputError(f"{len(result.sentences)} sentences: a palette PNG holds at most {MOST_IN_A_PALETTE}.")
    draws: dict[Format, Draw] = {
        Format.PNG: lambda place, masks: _write_pngs(result, place, masks),
        Format.PALETTE: lambda place, masks: _write_palette(result, place, masks),
        Format.CUTOUT: lambda place, masks: _write_cutouts(result, place, masks),
    }
    _draw(result, [draw for form, draw in draws.items() if form in forms])
    if Format.COCO in forms:
        write_json(_coco(result), result.folder / COCO)


def write_overlay(result: FinishedVideo) -> None:
    """Writes the overlay video: the film's size, times, length and sound; a frame around each sentence's key frame."""
    clip = result.clip
    sound = clip.path if clip.has_sound else None
    try:
        _write_overlay(result, sound)
    except av.error.FFmpegError as problem:
        if sound is None or write_refusal(problem):
            raise
        logger.warning(
            "warning: the sound of %s cannot be taken over (%s); %s has none", sound, problem.strerror, OVERLAY
        )
        _write_overlay(result, None)


def _write_overlay(result: FinishedVideo, sound: Path | None) -> None:
    clip = result.clip
    times, end = clip.times_s, clip.end_s
    if times is None or end is None:
        times, end = tuple(place / USUAL_RATE for place in range(len(clip))), len(clip) / USUAL_RATE
    begin = times[0] if clip.indices[0] else 0.0  # a part of a film begins at once, a whole one as it begins
    spans = [(first - begin, second - begin) for first, second in pairwise((*times, end))]
    with overlay_video(result.folder / OVERLAY, clip.size, result.sentences, sound=sound, part=(begin, end)) as video:

        def draw(place: int, masks: np.ndarray) -> None:
            marked = [number for number, key in enumerate(result.key_frames) if key == place]
            video.add(clip[place], masks, *spans[place], marked=marked)

        _draw(result, [draw])


def write_summary(result: FinishedVideo, forms: tuple[Format, ...]) -> None:
    """Writes `result.json`: frame names and times, and of each sentence where it starts and what was found."""
    clip, first = result.clip, result.clip.indices[0]
    by_sentence: list[list[tuple[bool, int]]] = [[] for _ in result.sentences]
    for rows in _rows(result.folder / MASKS, ["sentence_number", "seg_token_generated", "area_px"]):
        for row in rows:
            by_sentence[row["sentence_number"]].append((row["seg_token_generated"], row["area_px"]))
    expressions = [
        {
            "expression": sentence,
            "masks": f"masks/{number:02d}" if Format.PNG in forms else MASKS,
            "first_frame": first,
            "num_frames": len(clip),
            "key_frame": clip.indices[key_frame],
            "seg_token_generated": [generated for generated, _ in found],
            "area_px": [area for _, area in found],
        }
        for number, (sentence, key_frame, found) in enumerate(
            zip(result.sentences, result.key_frames, by_sentence, strict=True)
        )
    ]
    video = {
        "video": clip.name,
        "width_px": clip.size[0],
        "height_px": clip.size[1],
        "frame_indices": list(clip.indices),
        "frame_names": list(clip.frame_names),
        "times_s": None if clip.times_s is None else list(clip.times_s),
    }
    write_json({**video, "expressions": expressions}, result.folder / RESULT)


def _draw(result: FinishedVideo, draws: list[Draw]) -> None:
    """Gives the masks of each frame, in the frames' order, to what draws them."""
    if not draws:
        return
    width, height = result.clip.size
    masks = np.zeros((len(result.sentences), height, width), dtype=bool)
    for rows in _rows(result.folder / MASKS, ["frame_index", "sentence_number", "rle_counts"]):
        for row in rows:
            masks[row["sentence_number"]] = decode_rle(row["rle_counts"], height, width)
            if row["sentence_number"] == len(masks) - 1:
                place = result.clip.indices.index(row["frame_index"])
                for draw in draws:
                    draw(place, masks)


def _rows(path: Path, columns: list[str]) -> Iterator[list[dict[str, Any]]]:
    """Rows of the table by frame and sentence, one row group at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(256, columns=columns):
            yield batch.to_pylist()


def _write_pngs(result: FinishedVideo, place: int, masks: np.ndarray) -> None:
    for number, mask in enumerate(masks):
        write_mask_png(mask, result.folder / "masks" / f"{number:02d}" / f"{result.clip.frame_names[place]}.png")


def _write_palette(result: FinishedVideo, place: int, masks: np.ndarray) -> None:
    numbers = np.zeros(masks.shape[1:], dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        numbers[mask] = number
    picture = Image.fromarray(numbers, "P")
    picture.putpalette([0, 0, 0, *(value for number in range(len(masks)) for value in colour_of(number))])
    _save(picture, result.folder / "palette" / f"{result.clip.frame_names[place]}.png")


def _write_cutouts(result: FinishedVideo, place: int, masks: np.ndarray) -> None:
    picture = result.clip[place].convert("RGBA")
    for number, mask in enumerate(masks):
        picture.putalpha(Image.fromarray(mask.astype(np.uint8) * 255))
        _save(picture, result.folder / "cutout" / f"{number:02d}" / f"{result.clip.frame_names[place]}.png")


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def _coco(result: FinishedVideo) -> dict[str, Any]:
    clip = result.clip
    width, height = clip.size
    found: list[list[tuple[int, str]]] = [[] for _ in result.sentences]
    for rows in _rows(result.folder / MASKS, ["frame_index", "sentence_number", "rle_counts", "area_px"]):
        for row in rows:
            if row["area_px"]:
                found[row["sentence_number"]].append((clip.indices.index(row["frame_index"]), row["rle_counts"]))
    video = {"id": 1, "name": clip.name, "file_names": list(clip.frame_names), "length": len(clip)}
    annotations = [
        {
            "id": number,
            "video_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "expression_id": str(number - 1),
            "expression": sentence,
            **coco_track(len(clip), height, width, tracked),
        }
        for number, (sentence, tracked) in enumerate(zip(result.sentences, found, strict=True), start=1)
    ]
    return coco_document(clip.name, [{**video, "height": height, "width": width}], annotations)
