"""Frames by the listing of their folder, for datasets whose lists do not name them."""

from __future__ import annotations

from pathlib import Path

from glus.errors import InputError
from glus.media.folders import list_frame_files
from glus.staging.faults import Fault, error, problem_with, warning
from glus.staging.files.expression_lists import warn_of_few_frames
from glus.staging.files.paths import missing_folder
from glus.staging.raw import RawVideo


def list_frames(root: Path, folder: str, video_id: str, listed_in: str, faults: list[Fault]) -> RawVideo | None:
    """A video of the pictures of a folder in the order of their numbers; None, and a fault, where there is none."""
    record = f"video {video_id}"
    if absent := missing_folder(root, folder, video_id, listed_in):
        faults.append(absent)
        return None
    try:
        files, left_out = list_frame_files(root / folder)
    except InputError as problem:
        text = problem_with(problem, root / folder, folder)
        faults.append(error(folder, record, text, "Name its frames 00000.jpg, 00001.jpg ..."))
        return None
    for sentence in left_out:
        text = problem_with(sentence, root / folder, folder)
        faults.append(warning(folder, record, text, "Check that none of it is a frame"))
    names = tuple(Path(file).stem for file in files)
    warn_of_few_frames(listed_in, video_id, len(names), faults)
    return RawVideo(video_id, names, folder, files=tuple(files))
