"""What the pipeline reads from outside of it: raw data sets and given weights, known by their state without being read.

Beside it stands what follows from other parameters than a step's own (`derived_state`).

`sources/<step>.json` holds the state for DVC, which would have to read hundreds of gigabytes to know it by content: the
always-changed stage `sources` of `dvc.yaml` brings the files up to date before DVC looks at the steps that depend on
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glus.errors import InputError
from glus.files import hash_file, hash_json, read_note, write_json
from glus.pipeline.project import external_paths
from glus.pipeline.table import STEPS, Step
from glus.pipeline.unneeded import NEEDED, is_needed

if TYPE_CHECKING:
    from glus.config import Config

SOURCES = Path("sources")
LISTS = (".json", ".csv", ".txt", ".yaml", ".parquet")
LARGEST_LIST = 64 * 2**20  # bytes; longer ones (masks in JSON) are known by size and time as frames are


def update_sources(config: Config) -> list[str]:
    """Brings `sources/<step>.json` up to date; names the steps whose sources have changed.

    What is not on this machine keeps the state that is written there: it cannot be read, so nothing follows from it.
    """
    changed = []
    for step in (step for step in STEPS if step.has_state):
        file = SOURCES / f"{step.name}.json"
        before = read_note(file)
        found = {name: path_state(path) or before.get(name) for name, path in outside_paths(step, config)}
        found |= derived_state(step, config)
        if found != before or not file.is_file() or not file.stat().st_size:
            write_json(found, file)
            changed.append(step.name)
    return changed


def derived_state(step: Step, config: Config) -> dict[str, Any]:
    """What of other parameters decides a step: whether it is needed at all, and the names of the splits it lists."""
    needed = {NEEDED: is_needed(step, config)} if step.for_selector else {}
    return needed | ({"splits": config.data.splits} if step.lists_splits else {})


def outside_paths(step: Step, config: Config) -> Iterator[tuple[str, Path]]:
    """What a step reads from outside of the pipeline: the key that names it, and the path."""
    yield from (item for item in sorted(external_paths(config).items()) if item[0].startswith(step.outside))
    sam2 = Path(config.model.sam2_config)
    if "model.sam2_config" in step.outside and sam2.is_file():  # else the name of one that the sam2 package carries
        yield "model.sam2_config", sam2


def outside_state(step: Step, config: Config) -> dict[str, Any]:
    """State of the weights and files that a step is given.

    Raises:
        InputError: one is not there; names the parameter.
    """
    found = {}
    for key, path in outside_paths(step, config):
        found[key] = path_state(path)
        if found[key] is None:
            raise InputError(f"{key}: {path} does not exist; name the file or folder, or take the parameter out.")
    return found


def path_state(path: Path) -> dict[str, Any] | None:
    """State of a file, or of all files below a folder, links followed; None where there is nothing.

    Files are known by path, size and time, short lists by their content, so that copying them changes nothing.
    """
    if not path.exists():
        return None
    files = sorted(_files(path)) if path.is_dir() else [(path.name, path)]
    states = [(name, *_file_state(file)) for name, file in files]
    return {"files": len(states), "bytes": sum(int(state[1]) for state in states), "state": hash_json(states)}


def _file_state(file: Path) -> tuple[int, int | str]:
    try:
        found = file.stat()
        if file.suffix in LISTS and found.st_size <= LARGEST_LIST:
            return found.st_size, hash_file(file)
    except OSError as error:  # a broken link; what it means is for the step to say
        return 0, str(error.strerror)
    return found.st_size, found.st_mtime_ns


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder with its path there; a folder that links lead to again is entered once."""
    entered = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        place = Path(folder).stat()
        if (place.st_dev, place.st_ino) in entered:
            folders.clear()
            continue
        entered.add((place.st_dev, place.st_ino))
        yield from ((os.path.relpath(f"{folder}/{name}", root), Path(folder, name)) for name in names)
