"""One video examined: its frames and its folders of masks. What was found is kept, so that a killed run resumes.

What is kept of a video holds for the files it was found in, told by their names, sizes and times of change: whoever
mends a frame has that video looked at again, and no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from glus.files import hash_json, write_json
from glus.staging.faults import Fault
from glus.staging.files.file_state import file_state
from glus.staging.files.frames import Size, check_frames
from glus.staging.files.mask_files import Row, read_mask_folder
from glus.staging.files.video_files import check_film
from glus.staging.raw import MaskFolder, RawVideo


@dataclass
class VideoCheck:
    """What a video's files turned out to be.

    Attributes:
        frame_names: of a film they are known only now.
        size_px: height and width; None where no frame could be opened.
        frames_sha256: hash over the bytes of all frames.
        rows: of the table `masks`, from folders of PNG files.
        faults: of the frames, then of the masks.
    """

    frame_names: tuple[str, ...]
    size_px: Size | None
    frames_sha256: str
    rows: list[Row] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Depth:
    """How much of a split's files is read.

    Attributes:
        pixels: frames are decoded to their end and hashed; otherwise their headers are read.
        masks: masks in folders are read; otherwise whoever uses them does that.
    """

    pixels: bool = True
    masks: bool = True


EVERYTHING = Depth()


@dataclass(frozen=True)
class VideoChecker:
    """Examines videos of a split; picklable.

    Attributes:
        root: of the dataset.
        listed_in: the list that names the videos, for messages.
        kept: where what was found is kept; None keeps nothing.
    """

    root: Path
    listed_in: str
    kept: Path | None
    depth: Depth = EVERYTHING

    def __call__(self, item: tuple[RawVideo, tuple[MaskFolder, ...]]) -> VideoCheck:
        """Examines a video, or takes what an interrupted run has found in the same files."""
        video, folders = item
        if self.kept is None:
            return self._examine(video, folders)
        piece = self.kept / f"{hashlib.sha256(video.video_id.encode()).hexdigest()[:32]}.json"
        state = hash_json([repr(item), list(_states(self.root, video, folders))])
        found = _read_piece(piece, state)
        if found is None:
            found = self._examine(video, folders)
            write_json({"state": state, **asdict(found)}, piece)
        return found

    def _examine(self, video: RawVideo, folders: Iterable[MaskFolder]) -> VideoCheck:
        if video.film:
            frames = check_film(self.root, self.listed_in, video)
        else:
            frames = check_frames(self.root, self.listed_in, video, self.depth.pixels)
        video = replace(video, frame_names=frames.frame_names)
        check = VideoCheck(frames.frame_names, frames.size_px, frames.sha256, faults=frames.faults)
        for folder in folders if self.depth.masks else ():
            rows, faults = read_mask_folder(self.root, self.listed_in, folder, video, check.size_px)
            check.rows.extend(rows)
            check.faults.extend(faults)
        return check


def _states(root: Path, video: RawVideo, folders: Iterable[MaskFolder]) -> Iterator[list[object]]:
    """Name, size and time of change of every file that a check opens; folders too, for files that come and go."""
    yield file_state(root, video.film or video.frame_dir)
    yield from (file_state(root, file) for file in video.frame_files())
    for folder in folders:
        yield file_state(root, folder.folder)
        names = sorted(path.name for path in (root / folder.folder).glob("*.png"))
        yield from (file_state(root, f"{folder.folder}/{name}") for name in names)


def _read_piece(piece: Path, state: str) -> VideoCheck | None:
    if not piece.is_file():
        return None
    content = json.loads(piece.read_text(encoding="utf-8"))
    if content.pop("state") != state:
        return None
    names, size, faults = content.pop("frame_names"), content.pop("size_px"), content.pop("faults")
    return VideoCheck(
        tuple(names), tuple(size) if size else None, faults=[Fault(**fault) for fault in faults], **content
    )
