"""The videos that labels are of, found by their names below one folder and never outside of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath

from glus.errors import InputError
from glus.media.sources import FrameSource, open_frames
from glus.staging.faults import shown
from glus.staging.files.paths import is_inside, leads_out
from glus.staging.readers.own import FILMS


def without_suffix(name: str) -> str:
    """The name of a video without the suffix of a film."""
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in FILMS else name


class VideoFolder:
    """Films and folders of frames.

    Args:
        root: that holds them.

    Raises:
        InputError: it is no folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputError(f"{root} is not a folder; --videos names the folder with the films or folders of frames.")
        self._root = root
        self._open = cache(open_frames)

    def find(self, said: str, said_in: str) -> tuple[str, FrameSource]:
        """A video by the name that a file of labels gives it: a path below the folder, or the last part of one.

        Args:
            said: with or without the suffix of a film.

        Returns:
            Its path below the folder without a film's suffix, and its frames.

        Raises:
            InputError: it is not there, is there twice, or leads out of the folder.
        """
        for name in dict.fromkeys((said, PurePosixPath(said).name)):
            stem = without_suffix(name)
            if not is_inside(stem):
                continue
            found = self._sources(stem)
            if len(found) > 1:
                raise InputError(
                    f"{said_in}: the frames of {stem} may be {' or '.join(map(str, found))}. Keep one of them."
                )
            if found:
                files = found[0].iterdir() if found[0].is_dir() else ()
                if any(leads_out(self._root, str(path.relative_to(self._root))) for path in (found[0], *files)):
                    raise InputError(
                        f"{found[0]} is or holds a symbolic link out of {self._root}. Put the files themselves there."
                    )
                return stem, self._open(found[0])
        raise InputError(
            f"{said_in}: there is no video {shown(said)} below {self._root}. Expected a folder of frames of that name,"
            f" or a film ({', '.join(FILMS[:4])}, ...)."
        )

    def _sources(self, stem: str) -> list[Path]:
        place = self._root / stem
        near = place.parent.iterdir() if place.parent.is_dir() else ()
        films = [path for path in near if path.stem == place.name and path.suffix.lower() in FILMS]
        return [*([place] if place.is_dir() else []), *sorted(films)]
