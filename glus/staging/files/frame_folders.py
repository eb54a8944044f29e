"""Frames by the listing of their folder, for datasets whose lists do not name them."""

from __future__ import annotations

from pathlib import Path

from glus.staging.faults import Fault, error
from glus.staging.files.paths import missing_folder


def list_frames(root: Path, folder: str, video_id: str, listed_in: str, faults: list[Fault]) -> list[str]:
    """The names of the `.jpg` files of a video's folder in their order; none, and a fault, where there are none."""
    if absent := missing_folder(root, folder, video_id, listed_in):
        faults.append(absent)
        return []
    names = sorted(path.stem for path in (root / folder).glob("*.jpg"))
    if not names:
        others = sorted({path.suffix for path in (root / folder).iterdir() if path.suffix})
        found = f", but files that end in {', '.join(others)}" if others else ""
        problem = f"video {video_id} is listed in {listed_in} but {folder} holds no .jpg frames{found}"
        faults.append(
            error(folder, f"video {video_id}", problem, "Put its frames there as JPEG: 00000.jpg, 00001.jpg ...")
        )
    return names
