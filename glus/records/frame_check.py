"""Whether the frames of a staged split are those that were staged."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from glus.errors import ArtifactError, name_some
from glus.files import hash_json, read_note, write_json
from glus.manifest import MANIFEST
from glus.records.split import StagedSplit

NOTES = Path(".glus/frames")  # as the project's other scratch: where it is gone, it is made anew
READ_AT_ONCE = 2 << 30  # bytes; of more, what is found first is taken to be what was staged

logger = logging.getLogger(__name__)


def require_staged_frames(split: StagedSplit, expected: str) -> None:
    """Checks the frames: by inode, size and times where those are known, else byte by byte.

    Args:
        expected: hash over the bytes of all frames, as `glus stage` has found them.

    Raises:
        ArtifactError: a frame is missing, or they are not those that were staged; names those changed since.
    """
    note = NOTES / split.dataset / f"{split.split}.json"
    found = {file: _state(file) for frames in _frames(split) for file in frames}
    now = {"state": hash_json([[str(file), *state] for file, state in found.items()]), "frames_sha256": expected}
    before = read_note(note)
    if before == now:
        return
    known = before.get("frames_sha256") == expected
    if known or sum(size for _, size, _, _ in found.values()) <= READ_AT_ONCE:
        if known:
            logger.info("%s: frames have other times than before, so all are compared", split.directory)
        if _digest(split) != expected:
            staged_ns = (split.directory / MANIFEST).stat().st_mtime_ns
            changed = [str(file) for file, (_, _, written_ns, _) in found.items() if written_ns > staged_ns]
            raise ArtifactError(
                f"{split.frames_root}: frames of {split.dataset}/{split.split} are not those that were staged (changed"
                f" since: {name_some(changed) or 'not known'}). Put them back, or run `glus stage` (or `dvc repro`)."
            )
    if NOTES.parent.is_dir():
        write_json(now, note)


def _frames(split: StagedSplit) -> list[list[Path]]:
    """The files of each video."""
    return [[split.frame_path(video, index) for index in range(video.num_frames)] for video in split.videos.values()]


def _state(file: Path) -> tuple[int, int, int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise ArtifactError(
            f"{file} cannot be read ({error.strerror}), but was staged. Put it back, or run `glus stage` again."
        ) from error
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(split: StagedSplit) -> str:
    """As `glus.staging` has made it: of the hashes of all videos, which are of those of their frames."""
    digest = hashlib.sha256()
    for files in _frames(split):
        video = hashlib.sha256()
        for file in files:
            video.update(hashlib.sha256(file.read_bytes()).digest())
        digest.update(video.hexdigest().encode())
    return digest.hexdigest()
