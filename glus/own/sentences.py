"""What is said about labelled objects: a table of sentences, or the labels themselves."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from glus.errors import InputError, name_some
from glus.own.labels import AnnotatedVideo
from glus.own.videos import without_suffix
from glus.processing.sentences import require_sentences
from glus.staging.faults import shown

COLUMNS = ("video", "object", "sentence")
Table = dict[str, dict[str, list[str]]]  # video -> sentence -> objects, as the table calls them
Said = dict[str, tuple[int, ...]]  # sentence -> places of its tracks


def read_table(path: Path) -> Table:
    """Reads a CSV with the columns video, object and sentence. Rows of one sentence belong together: all their objects.

    Raises:
        InputError: it cannot be read, has other columns or cells, or a sentence that cannot be asked; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{path} cannot be read as comma-separated UTF-8 text ({problem}).") from problem
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if sorted(header) != sorted(COLUMNS):
        raise InputError(f"{path} has the columns {', '.join(header) or 'none'}, expected {', '.join(COLUMNS)}.")
    table: Table = defaultdict(lambda: defaultdict(list))
    for number, cells in enumerate(lines[1:], start=2):
        if not any(map(str.strip, cells)):
            continue
        row = dict(zip(header, map(str.strip, cells), strict=False))
        if len(cells) != len(header) or not all(row.values()):
            raise InputError(
                f"{path}, line {number} is {shown(cells)}, expected {', '.join(COLUMNS)}; a sentence with a comma"
                ' stands in quotes: "the dog, left".'
            )
        try:
            require_sentences([row["sentence"]])
        except InputError as fault:
            raise InputError(f"{path}, line {number}: {fault}") from fault
        table[without_suffix(row["video"])][row["sentence"]].append(row["object"])
    return table


def from_table(path: Path, table: Table, videos: Sequence[AnnotatedVideo]) -> dict[str, Said]:
    """The sentences of each video.

    Raises:
        InputError: videos without a sentence, sentences about other videos, or objects that were not labelled.
    """
    names = {video.name for video in videos}
    if unsaid := sorted(names - table.keys()):
        raise InputError(f"{path} has no sentence about {name_some(unsaid)}. Write one about each labelled video.")
    if others := sorted(table.keys() - names):
        raise InputError(
            f"{path} speaks of {name_some(others)}, which are not labelled; there are {name_some(sorted(names))}."
        )
    said: dict[str, Said] = {}
    for video in videos:
        said[video.name] = {}
        for sentence, objects in table[video.name].items():
            meant = {
                at for name in objects for at, track in enumerate(video.tracks) if name in (track.name, track.label)
            }
            known = {name for track in video.tracks for name in (track.name, track.label) if name}
            if unknown := [name for name in objects if name not in known]:
                raise InputError(
                    f"{path}: {shown(sentence)} is about {name_some(unknown)} of {video.name}, which has"
                    f" {name_some(sorted(known))}."
                )
            said[video.name][sentence] = tuple(sorted(meant))
    return said


def from_labels(labels: Sequence[Path], videos: Sequence[AnnotatedVideo]) -> dict[str, Said]:
    """A sentence for each label, about all objects that bear it; `_` becomes a blank.

    Raises:
        InputError: objects without a label, or one that is no sentence.
    """
    said: dict[str, Said] = {}
    for video in videos:
        tracks: dict[str, list[int]] = defaultdict(list)
        for at, track in enumerate(video.tracks):
            if not track.label:
                raise InputError(
                    f"{', '.join(map(str, labels))}: the objects of {video.name} have numbers and no words."
                    f" Write a table with the columns {', '.join(COLUMNS)}, and name it by --sentences."
                )
            tracks[track.label.replace("_", " ").strip()].append(at)
        try:
            require_sentences(list(tracks))
        except InputError as fault:
            raise InputError(f"The labels of video {video.name} are no sentences: {fault}") from fault
        said[video.name] = {sentence: tuple(places) for sentence, places in tracks.items()}
    return said
