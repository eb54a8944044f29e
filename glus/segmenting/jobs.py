"""Which videos are segmented, with which sentences, and where each result goes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glus.errors import InputError
from glus.processing.sentences import require_sentences

SENTENCE = ("sentence", "expression")  # what its column may be called


@dataclass(frozen=True)
class Job:
    """One video and what is asked of it.

    Attributes:
        video: a film, a picture or a folder of frames.
        sentences: at least one.
        output: folder of its result.
    """

    video: Path
    sentences: tuple[str, ...]
    output: Path


def plan_jobs(inputs: Sequence[Path], sentences: Sequence[str], output: Path) -> list[Job]:
    """One job for each video, in the order in which they are named.

    The result of a single video goes to `output`; those of several, or of a table, to folders in it that bear the
    videos' names.

    Args:
        inputs: films, folders of frames, and tables (`.csv`) of videos and sentences.
        sentences: for the films and folders that are no tables.

    Raises:
        InputError: no sentence, or one with a fault; a table that is none.
    """
    asked: dict[Path, dict[str, None]] = {}  # sentences in their order, each once
    tables = [path for path in inputs if path.suffix.lower() == ".csv" and not path.is_dir()]
    if sentences and len(tables) == len(inputs):
        raise InputError("-e is for films and folders; the sentences of a table stand in it.")
    for path in inputs:
        if path in tables:
            for video, sentence in _read_table(path):
                asked.setdefault(video, {})[sentence] = None
        else:
            require_sentences(list(sentences))
            asked.setdefault(path, {}).update(dict.fromkeys(sentences))
    folders = [output] if len(asked) == 1 and not tables else [output / name for name in _names(asked)]
    return [Job(video, tuple(texts), folder) for (video, texts), folder in zip(asked.items(), folders, strict=True)]


def _names(videos: Iterable[Path]) -> Iterator[str]:
    """A name for each video: its file's without the suffix, numbered where several have one."""
    taken: set[str] = set()
    for video in videos:
        whole = video.resolve()
        stem = (whole.name if whole.is_dir() else whole.stem) or "video"
        name, number = stem, 1
        while name.lower() in taken:  # some disks do not tell Clip from clip
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        yield name


def _read_table(path: Path) -> list[tuple[Path, str]]:
    """Videos and sentences of a table; a relative path begins at the table's own folder.

    Raises:
        InputError: not there, not UTF-8, other columns, a line with more or fewer cells, or a fault of a sentence.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{path} cannot be read as a table ({why}).") from error
    reader = csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not comma-separated values ({error}).") from error
    header = lines[0][1] if lines else []
    sentence = [name for name in header if name in SENTENCE]
    if header.count("video") != 1 or len(sentence) != 1:
        raise InputError(
            f"{path} has the columns {', '.join(header) or 'none'}, expected video and sentence, once"
            " each, separated by commas."
        )
    if len(lines) == 1:
        raise InputError(f"{path} names no video; write a line for each video and sentence.")
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {number} has {len(cells)} cells, expected {len(header)}; a sentence with a comma stands"
                f' in quotes: "the dog, left".'
            )
        row = dict(zip(header, cells, strict=True))
        if not row["video"] or "\0" in row["video"]:
            raise InputError(f"{path}, line {number} names no video{' (it holds a zero byte)' * bool(row['video'])}.")
        try:
            require_sentences([row[sentence[0]]])
        except InputError as fault:
            raise InputError(f"{path}, line {number}: {fault}") from fault
        rows.append((path.parent / row["video"], row[sentence[0]]))
    return rows
