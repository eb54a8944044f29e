"""Your own videos: frames or a film each, indexed PNG masks where there are any, and one table of expressions."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from glus.errors import name_some
from glus.media.folders import HIDDEN
from glus.staging.faults import Fault, error, shown, warning
from glus.staging.files.expression_lists import check_text, check_video_id, expression_place, require
from glus.staging.files.frame_folders import list_frames
from glus.staging.files.json_files import parse_json, read_text
from glus.staging.files.paths import leads_out, led_out
from glus.staging.raw import MaskFolder, Published, RawExpression, RawSplit, RawVideo

TREE = """
<split>/JPEGImages/<video>/00000.jpg ...    (frames, or .png, numbered; or instead of them:)
<split>/Videos/<video>.mp4                  (a film; .mov, .mkv, .webm, .avi likewise; frames count from 00000)
<split>/Annotations/<video>/00000.png ...   (indexed PNG, pixel value = object; not needed for videos without masks)
<split>/expressions.csv                     (columns video, expression, objects: numbers separated by blanks)
    or expressions.json                     (a list of {"video": ..., "expression": ..., "objects": [1, 2]})
"""
PUBLISHER = "you"
PUBLISHED: dict[str, Published] = {}
TABLES = ("expressions.csv", "expressions.json")
COLUMNS = ("video", "expression", "objects")
FILMS = (
    ".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp",
    ".ogv", ".gif",
)  # fmt: skip
OBJECTS = tuple(map(str, range(1, 255)))  # pixel values; 0 is the background and 255 belongs to nothing


def splits(root: Path) -> list[str]:
    """The folders that hold a table of expressions."""
    return sorted({path.parent.name for name in TABLES for path in root.glob(f"*/{name}")})


def load(root: Path, split: str) -> RawSplit:
    """Reads the table of expressions; frames are the pictures of each video's folder, in the order of their numbers.

    Raises:
        MissingError: the split is not there.
    """
    tables = [name for name in TABLES if (root / split / name).is_file()] or [TABLES[0]]
    raw = RawSplit(f"{split}/{tables[0]}")
    if len(tables) > 1:
        problem = f"{split} holds {' and '.join(tables)}, two lists of expressions"
        raw.faults.append(error(raw.file, "", problem, "Keep one of them"))
    require(root / raw.file, root, TREE, PUBLISHER)
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in _read_rows(root, raw.file, raw.faults):
        grouped.setdefault(str(row["video"]), []).append(row)
    masks = []
    for video_id, rows in sorted(grouped.items()):
        video = _video(root, split, video_id, raw)
        if video is None:
            continue
        raw.videos.append(video)
        masked = (root / split / "Annotations" / video_id).is_dir()
        if masked:
            masks.append(MaskFolder(video_id, f"{split}/Annotations/{video_id}"))
        raw.expressions.extend(_expressions(raw, video_id, rows, needs_objects=masked or split == "train"))
    raw.masks = masks or None
    if grouped:
        raw.faults.extend(_never_named(root, split, raw.file, grouped))
    return raw


def _never_named(root: Path, split: str, file: str, video_ids: Iterable[str]) -> Iterator[Fault]:
    """Folders and films that no row names, in one fault."""
    named = {PurePosixPath(video_id).parts[:1] for video_id in video_ids}
    places = [path for kind in ("JPEGImages", "Videos") for path in (root / split / kind).glob("*")]
    videos = [path for path in places if path.is_dir() or path.suffix.lower() in FILMS]
    others = sorted(
        path.relative_to(root).as_posix()
        for path in videos
        if not path.name.startswith(HIDDEN) and named.isdisjoint({(path.name,), (path.stem,)})
    )
    if others:
        problem = f"no row of {file} names {len(others)} of the videos beside it: {name_some(others)}"
        yield warning(file, "", problem, "They are left out")


def _read_rows(root: Path, file: str, faults: list[Fault]) -> list[dict[str, Any]]:
    """The rows of the table that have all columns."""
    text = read_text(root, file, faults)
    if text is None:
        return []
    known = len(faults)
    rows = _read_csv(file, text, faults) if file.endswith(".csv") else parse_json(file, text, faults)
    if len(faults) > known:
        return []
    if not isinstance(rows, list) or not rows:
        problem = f"{file} has no rows, expected {', '.join(COLUMNS)} in each"
        faults.append(error(file, "", problem, "Write one row for each expression"))
        return []
    complete = []
    for number, row in enumerate(rows):
        absent = [name for name in COLUMNS if not isinstance(row, dict) or name not in row]
        if absent or not isinstance(row["video"], str):
            problem = f"row {number} of {file} has no {', '.join(absent or ['text for video'])}: {shown(row)}"
            faults.append(error(file, f"row {number}", problem, f"Every row needs {', '.join(COLUMNS)}"))
            continue
        complete.append(row)
    return complete


def _read_csv(file: str, text: str, faults: list[Fault]) -> list[dict[str, Any]] | None:
    """Rows by the names of the header; blanks around a cell do not count, and neither do empty lines."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as damage:
        faults.append(error(file, "", f"{file} is not a table of comma-separated values: {damage}", "Write it again"))
        return None
    _, header = lines[0] if lines else (0, [])
    for name in sorted(name for name, count in Counter(header).items() if count > 1):
        faults.append(error(file, "line 1", f"{file} has {header.count(name)} columns {name!r}", "Keep one of them"))
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            problem = f"line {number} of {file} has {len(cells)} cells, its header names {len(header)}: {shown(cells)}"
            action = 'Write one cell for each column; a text with a comma stands in quotes: "the dog, left"'
            faults.append(error(file, f"line {number}", problem, action))
    return [dict(zip(header, cells, strict=False)) for _, cells in lines[1:]]


def _video(root: Path, split: str, video_id: str, raw: RawSplit) -> RawVideo | None:
    if not check_video_id(raw.file, video_id, raw.faults):
        return None
    folder, films = f"{split}/JPEGImages/{video_id}", _films(root, f"{split}/Videos/{video_id}")
    sources = [folder, *films] if (root / folder).is_dir() else films
    if len(sources) > 1:
        problem = f"the frames of {video_id} lie in {' and '.join(sources)}"
        raw.faults.append(error(raw.file, f"video {video_id}", problem, "Keep one of them"))
        return None
    if not films:
        return list_frames(root, folder, video_id, raw.file, raw.faults)
    if leads_out(root, films[0]):
        raw.faults.append(led_out(films[0], f"video {video_id}"))
        return None
    return RawVideo(video_id, (), folder, film=films[0])


def _films(root: Path, place: str) -> list[str]:
    """The film files at a path without suffix, relative to the root."""
    folder, stem = (root / place).parent, PurePosixPath(place).name
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if path.stem == stem and path.suffix.lower() in FILMS)
    return [str(PurePosixPath(place).with_name(name)) for name in names]


def _expressions(
    raw: RawSplit, video_id: str, rows: list[dict[str, Any]], *, needs_objects: bool
) -> list[RawExpression]:
    expressions: list[RawExpression] = []
    said: dict[str, RawExpression] = {}
    for number, row in enumerate(rows):
        if not check_text(raw.file, video_id, str(number), row["expression"], raw.faults):
            continue
        place, value = expression_place(video_id, str(number)), row["objects"]
        named = value.split() if isinstance(value, str) else value if isinstance(value, list) else [value]
        objects = tuple(dict.fromkeys(str(item) for item in named if item is not None))
        if not all(item in OBJECTS for item in objects):
            problem = f"{video_id} expression {number} names the objects {shown(value)}"
            expected = f"{problem}, expected pixel values of the masks, from {OBJECTS[0]} to {OBJECTS[-1]}"
            raw.faults.append(error(raw.file, place, expected, "Write them as numbers separated by blanks"))
            continue
        if needs_objects and not objects:
            problem = f"{video_id} expression {number} names no objects, but masks are there or needed for training"
            raw.faults.append(error(raw.file, place, problem, "Name its objects"))
        expressions.append(RawExpression(video_id, str(number), row["expression"], objects, objects))
        first = said.setdefault(row["expression"].strip(), expressions[-1])
        if first is not expressions[-1]:
            other = set(first.object_ids) != set(objects)
            problem = (
                f"{video_id} expressions {first.expression_id} and {number} are one sentence ({shown(first.text)})"
            )
            problem += " about other objects" if other else ""
            raw.faults.append((error if other else warning)(raw.file, place, problem, "Keep one of the rows"))
    return expressions
