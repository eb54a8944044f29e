"""Putting a finished file or folder in place of the old one, whichever file system it lies on, safe from power loss."""

from __future__ import annotations

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from glus.errors import GlusError

IN_THE_WAY = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS)
NUM_SYNCED = 16  # files at a time


def publish(source: Path, target: Path) -> None:
    """Puts what was finished in place of the old; nobody ever finds half of either, and the source stays.

    The new one is written beside the target, on the target's own file system (as links to the source's files where that
    is the same one), synced to disk, and then renamed. The source stays for a second try: whoever ends the work removes
    it. Its files must not be written to any more, only replaced.

    Raises:
        GlusError: the target cannot be replaced; it is as it was.
    """
    target = target.resolve()  # behind a link
    aside, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if old.exists() and not target.exists():  # an earlier call died between its two renames
            old.rename(target)
        _remove(aside)
        _write_aside(source, aside)
        sync(aside)
        _put_in_place(aside, target, old)
        _sync(target.parent)
    except OSError as error:
        if error.errno not in IN_THE_WAY:
            raise
        raise GlusError(
            f"{target} cannot be replaced ({error.strerror}); it is as it was. Make its folder writable, or, if it is a"
            " mount point, mount the folder that it lies in, and start again; what was finished is kept."
        ) from error
    finally:
        _remove(aside)
    _remove(old)


def publish_file(source: Path, target: Path) -> None:
    """Renames a file that was written beside its target, synced: it is there whole, or not at all."""
    _sync(source)
    source.replace(target)
    _sync(target.parent)


def _write_aside(source: Path, aside: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, aside, copy_function=_link_or_copy)
    else:
        shutil.copy2(source, aside)  # no link: a second try writes the file anew, in place


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _put_in_place(aside: Path, target: Path, old: Path) -> None:
    if not target.is_dir():
        aside.replace(target)
        return
    _remove(old)
    target.rename(old)
    try:
        aside.rename(target)
    except BaseException:
        old.rename(target)
        raise


def sync(path: Path) -> None:
    """Has the disk hold a file, or everything below a folder.

    Many at a time: one after the other, small files wait some milliseconds each for the disk's journal.
    """
    folders = [Path(folder) for folder, _, _ in os.walk(path, topdown=False)]
    files = [path] if path.is_file() else [file for folder in folders for file in folder.iterdir()]
    with ThreadPoolExecutor(NUM_SYNCED) as pool:
        for _ in pool.map(_sync, files):
            pass
    for folder in folders:
        _sync(folder)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
