"""Whether raw files are still those that were looked at: by size, times and inode, without reading them."""

from __future__ import annotations

import os
from pathlib import Path

from glus.files import hash_json


def file_state(root: Path, file: str) -> list[object]:
    """What changes when a file is replaced or written to; for a folder, when files in it come or go."""
    try:
        found = (root / file).stat()
    except OSError as problem:
        return [file, problem.errno]
    return [file, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def folder_state(root: Path) -> str:
    """Hash of the state of every file below a folder."""
    files = (os.path.relpath(f"{folder}/{name}", root) for folder, _, names in os.walk(root) for name in names)
    return hash_json(sorted((file_state(root, file) for file in files), key=lambda state: str(state[0])))
