"""Predictions in the forms that other tools read: a tree of PNG files, and COCO's JSON for videos."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from glus.evaluation.answers import Answers, PngTrack, decode_masks
from glus.evaluation.predictions import expressions_by_key
from glus.execution.processes import map_in_processes
from glus.execution.progress import show_bar
from glus.masks import encode_rle, write_mask_png
from glus.metrics.scoring import Track
from glus.records.ground_truth import GroundTruth
from glus.records.split import Video


def write_png_tree(truth: GroundTruth, answers: Answers, folder: Path, processes: int) -> int:
    """Writes `<video>/<expression>/<frame>.png`, 8-bit grey, 0 and 255; returns the number of files.

    Raises:
        InputError: a mask cannot be used; names it.
    """
    jobs = ((folder, truth.videos[video_id], name, track) for (video_id, name), track in answers.tracks.items())
    written = map_in_processes(partial(partial, _write_track), jobs, processes)
    return sum(show_bar(written, f"masks of {truth.dataset}/{truth.split}", total=len(answers.tracks)))


def _write_track(job: tuple[Path, Video, str, Track | PngTrack]) -> int:
    folder, video, name, track = job
    count = 0
    for index, mask in decode_masks(track, video):
        write_mask_png(mask, folder / video.video_id / name / f"{video.frame_names[index]}.png")
        count += 1
    return count


def to_coco(truth: GroundTruth, answers: Answers) -> dict[str, Any]:
    """COCO's form for videos (YouTube-VIS 2019): one annotation per expression, a mask or null per frame.

    Annotations carry `expression_id` and the words as `expression`; videos carry the dataset's own id as `name`.

    Raises:
        InputError: a mask cannot be used; names it.
    """
    numbers = {video_id: number for number, video_id in enumerate(truth.videos, start=1)}
    texts = {key: item.text for key, item in expressions_by_key(truth).items()}
    annotations = [
        {
            "id": number,
            "video_id": numbers[video_id],
            "category_id": 1,
            "iscrowd": 0,
            "expression_id": name,
            "expression": texts[video_id, name],
            **_segmentations(truth.videos[video_id], track),
        }
        for number, ((video_id, name), track) in enumerate(answers.tracks.items(), start=1)
    ]
    videos = [_video(numbers[video.video_id], video) for video in truth.videos.values()]
    return coco_document(f"{truth.dataset}/{truth.split}", videos, annotations)


def coco_document(description: str, videos: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole of COCO's form, with one category for whatever is referred to."""
    return {
        "info": {"description": description},
        "videos": videos,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "referent"}],
    }


def coco_track(num_frames: int, height_px: int, width_px: int, found: Iterable[tuple[int, str]]) -> dict[str, Any]:
    """Run lengths, areas in pixels and boxes (left, top, width, height) of each frame; null without a mask.

    Args:
        found: frames with a mask that is not empty, and its run lengths.
    """
    rles: list[dict[str, Any] | None] = [None] * num_frames
    for index, counts in found:
        rles[index] = {"size": [height_px, width_px], "counts": counts}
    return {
        "segmentations": list(rles),
        "areas": [int(coco.area(rle)) if rle else None for rle in rles],
        "bboxes": [coco.toBbox(rle).tolist() if rle else None for rle in rles],
    }


def _video(number: int, video: Video) -> dict[str, Any]:
    return {
        "id": number,
        "name": video.video_id,
        "file_names": [f"{video.video_id}/{name}.jpg" for name in video.frame_names],
        "length": video.num_frames,
        "height": video.height_px,
        "width": video.width_px,
    }


def _segmentations(video: Video, track: Track | PngTrack) -> dict[str, Any]:
    found = ((index, encode_rle(mask)) for index, mask in decode_masks(track, video) if mask.any())
    return coco_track(video.num_frames, video.height_px, video.width_px, found)
