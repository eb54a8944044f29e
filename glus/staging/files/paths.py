"""Names that a dataset gives to its videos, frames and expressions, as paths that never leave its folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

from glus.errors import InputError
from glus.staging.faults import Fault, error

ALLOW = (
    "Put the files themselves there, or name the folder that the link leads into: --allow-links FOLDER, or in"
    " params.yaml stage.allow_links"
)
LONGEST_NAME, LONGEST_PATH = 255, 1024  # bytes: of a file's name anywhere, and room for the root before a path


def is_inside(name: object) -> bool:
    """Whether a name from a file is a plain relative path below the folder it is joined to."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name:
        return False
    path = PurePosixPath(name)
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    return (
        bool(path.parts)
        and str(path) == name
        and not path.is_absolute()
        and ".." not in path.parts
        and longest <= LONGEST_NAME
        and len(os.fsencode(name)) <= LONGEST_PATH
    )


def is_file_name(name: object) -> bool:
    """Whether a name from a file is the name of one file or folder."""
    return is_inside(name) and "/" not in str(name)


class LinkedRoot(PosixPath):
    """A dataset's folder that says where symbolic links in it may lead.

    Attributes:
        linked: folders beside the dataset's own, resolved.
    """

    linked: tuple[str, ...] = ()

    @classmethod
    def of(cls, root: Path, folders: Iterable[str | Path]) -> LinkedRoot:
        """The root with folders that the user names.

        Raises:
            InputError: one is not a folder.
        """
        linked = cls(root)
        linked.linked = tuple(os.path.realpath(folder) for folder in folders)
        for folder in linked.linked:
            if not Path(folder).is_dir():
                raise InputError(f"{folder} is not a folder; --allow-links and stage.allow_links name folders.")
        return linked

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes are told too."""
        return LinkedRoot.of, (str(self), self.linked)


def leads_out(root: Path, path: str) -> bool:
    """Whether symbolic links take a path out of the dataset's folder (which may be a link itself).

    They may lead into the cache of the DVC repository that the folder lies in, and into the folders of a `LinkedRoot`.
    """
    target = Path(os.path.realpath(root / path))
    allowed = (os.path.realpath(root), *(root.linked if isinstance(root, LinkedRoot) else ()))
    return not any(map(target.is_relative_to, allowed)) and not _in_dvc_cache(root, target)


def _in_dvc_cache(root: Path, target: Path) -> bool:
    """Whether a file lies in `.dvc/cache` of the repository around a dataset; a cache elsewhere has to be named."""
    for start in (Path(os.path.normpath(root.absolute())), Path(os.path.realpath(root))):
        repository = next((folder for folder in start.parents if (folder / ".dvc").is_dir()), None)
        if repository is not None and target.is_relative_to(Path(os.path.realpath(repository)) / ".dvc" / "cache"):
            return True
    return False


def led_out(path: str, record: str) -> Fault:
    """The fault of a link that leaves the dataset's folder."""
    problem = f"{path} is a symbolic link out of the dataset's folder; nothing behind it was opened"
    return error(path, record, problem, ALLOW)


def require_no_link_out(root: Path, file: str) -> None:
    """Refuses to open a file that is a link out of the dataset's folder.

    Raises:
        InputError: it is.
    """
    if (root / file).is_symlink() and leads_out(root, file):
        raise InputError(f"{file} is a symbolic link out of the dataset's folder; it was not opened. {ALLOW}")


def missing_folder(root: Path, folder: str, video_id: str, listed_in: str) -> Fault | None:
    """The fault of a folder that is not there: of the outermost one, so that an absent tree is one fault."""
    absent = [path for path in (PurePosixPath(folder), *PurePosixPath(folder).parents) if not (root / path).is_dir()]
    if not absent:
        return led_out(folder, f"video {video_id}") if leads_out(root, folder) else None
    outermost = absent[-1]
    packed = outermost.with_name(f"{outermost.name}.tar")
    action = f"Unpack {packed}" if (root / packed).is_file() else "Unpack or download it again"
    if other := other_spelling(root / outermost):
        action = f"There is {outermost.with_name(other)}; give it the name that is listed"
    if len(absent) > 1:
        return error(str(outermost), "", f"{outermost} does not exist, which {listed_in} needs", action)
    problem = f"video {video_id} is listed in {listed_in} but {folder} does not exist"
    return error(folder, f"video {video_id}", problem, f"{action}, or remove the video from the list")


def other_spelling(path: Path) -> str | None:
    """A neighbour whose name differs only in upper and lower case, or in its extension."""
    if not path.parent.is_dir():
        return None
    names = sorted(found.name for found in path.parent.iterdir() if found.name != path.name)
    same_letters = [name for name in names if name.casefold() == path.name.casefold()]
    same_stem = [name for name in names if path.suffix and Path(name).stem == path.stem]
    return next(iter(same_letters + same_stem), None)
