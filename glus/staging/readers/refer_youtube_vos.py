"""Refer-YouTube-VOS: indexed PNG in train, nothing in valid, or the ground truth that the author shared later.

The validation list of 507 videos holds the 305 test videos too, whose frames are no longer given out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from glus.staging.faults import Fault, error, warning
from glus.staging.files.expression_lists import require
from glus.staging.files.json_files import entries, read_json
from glus.staging.raw import MaskFolder, Published, RawSplit
from glus.staging.readers.indexed_png import listed_splits, load_indexed, meta_file

TREE = """
meta_expressions/{train,valid,test}/meta_expressions.json
train/JPEGImages/<video>/<frame>.jpg ...
train/Annotations/<video>/<frame>.png ...
valid/JPEGImages/<video>/<frame>.jpg ...
valid/Annotations/<video>/<expression>/<frame>.png ...      (only to score valid here)
"""
PUBLISHER = "YouTube-VOS (youtube-vos.org, Referring VOS), non-commercial research"
PUBLISHED = {"train": Published(3471, 12913, 6388), "valid": Published(202, 834)}
NUM_LISTED, NUM_VALID = 507, 202

splits = listed_splits


def load(root: Path, split: str) -> RawSplit:
    """Reads the lists of a split.

    Raises:
        MissingError: the dataset or the split is not there.
    """
    require(root / meta_file(split), root, TREE, PUBLISHER)
    raw = load_indexed(root, split)
    if not raw.videos:
        _explain_other_form(root, raw)
    if split == "valid":
        _leave_out_test_videos(root, raw)
    if raw.masks is None and (root / split / "Annotations").is_dir():
        _add_shared_ground_truth(split, raw)
    return raw


def _explain_other_form(root: Path, raw: RawSplit) -> None:
    """The baseline's file of the same name lists expressions below objects; one fault says so, not one per video."""
    videos = entries(entries(read_json(root, raw.file, [])).get("videos"))
    if videos and all("objects" in entries(video) and "frames" not in entries(video) for video in videos.values()):
        problem = f"{raw.file} lists expressions below objects, as the baseline's file of the same name does"
        action = "Take meta_expressions.json from the dataset's own package: videos with 'frames' and 'expressions'"
        raw.faults[:] = [error(raw.file, "", problem, action)]


def _leave_out_test_videos(root: Path, raw: RawSplit) -> None:
    """Videos of the test part have no frames on disk; that is no fault of this copy."""
    test_file = meta_file("test")
    listed = read_json(root, test_file, raw.faults) if (root / test_file).is_file() else None
    absent = {video.video_id for video in raw.videos if not (root / video.frame_dir).is_dir()}
    if listed:
        test_only, why = absent & set(entries(listed.get("videos"))), f"it is also listed in {test_file}"
    else:
        is_official = len(raw.videos) == NUM_LISTED and len(absent) == NUM_LISTED - NUM_VALID
        test_only, why = (absent if is_official else set()), f"exactly {NUM_VALID} of {NUM_LISTED} have frames"
    raw.faults.extend(_skipped(raw.file, video_id, why) for video_id in sorted(test_only))
    raw.videos = [video for video in raw.videos if video.video_id not in test_only]
    raw.expressions = [expression for expression in raw.expressions if expression.video_id not in test_only]
    if isinstance(raw.masks, list):
        raw.masks = [folder for folder in raw.masks if folder.video_id not in test_only]


def _skipped(file: str, video_id: str, why: str) -> Fault:
    problem = (
        f"{video_id} is listed for validation but is a test video, without frames: {why}"
        f" (the official list of {NUM_LISTED} = {NUM_VALID} validation + {NUM_LISTED - NUM_VALID} test videos)"
    )
    return warning(file, f"video {video_id}", problem, "It is skipped; this is no error")


def _add_shared_ground_truth(split: str, raw: RawSplit) -> None:
    """One folder of masks per expression; the expression's id is its annotation's."""
    raw.expressions = [replace(item, annotation_ids=(item.expression_id,)) for item in raw.expressions]
    raw.masks = [
        MaskFolder(item.video_id, f"{split}/Annotations/{item.video_id}/{item.expression_id}", item.expression_id)
        for item in raw.expressions
    ]
