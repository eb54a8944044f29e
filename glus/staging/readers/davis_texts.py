"""Ref-DAVIS17 as published: DAVIS 2017 and four text files of sentences, `<video> <object> "<sentence>"` a line.

Ids and masks are those of the conversion that is in use (see `ref_davis17`): objects sorted as text, four expressions
each, masks of `Annotations_unsupervised` where they are there.
"""

from __future__ import annotations

import re
from pathlib import Path

from glus.staging.faults import Fault, error
from glus.staging.files.expression_lists import check_text, check_video_id
from glus.staging.files.frame_folders import list_frames
from glus.staging.files.json_files import DOWNLOAD_AGAIN
from glus.staging.files.paths import leads_out, led_out
from glus.staging.raw import MaskFolder, RawExpression, RawSplit

TEXTS = "davis_text_annotations"
FILES = (  # in the order of their expression ids
    ("Davis17_annot1.txt", "utf-8"),
    ("Davis17_annot1_full_video.txt", "utf-8"),
    ("Davis17_annot2.txt", "latin-1"),
    ("Davis17_annot2_full_video.txt", "latin-1"),
)
LISTS = {"train": "train.txt", "valid": "val.txt"}
MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
_LINE = re.compile(r'(\S+)\s+(\d+)\s+"?(.*?)"?\s*')

Sentences = dict[tuple[str, str], str]  # by video and object


def listed_splits(root: Path) -> list[str]:
    """The splits whose list of videos is there."""
    return [split for split in LISTS if (root / _list_file(root, split)).is_file()]


def load_texts(root: Path, split: str) -> RawSplit:
    """Reads a split's list of videos and what the four files say about their objects."""
    images = _folder(root)
    unsupervised = f"{images}Annotations_unsupervised/480p"
    annotations = unsupervised if (root / unsupervised).is_dir() else f"{images}Annotations/480p"
    raw = RawSplit(_list_file(root, split), f"as published, masks of {annotations}", masks=[])
    sentences = [_read_sentences(root, f"{TEXTS}/{name}", encoding, raw.faults) for name, encoding in FILES]
    for video_id in _read_lines(root, raw.file, "utf-8", raw.faults):
        if not check_video_id(raw.file, video_id, raw.faults):
            continue
        folder = f"{images}JPEGImages/480p/{video_id}"
        video = list_frames(root, folder, video_id, raw.file, raw.faults)
        if video is None:
            continue
        raw.videos.append(video)
        raw.masks.append(MaskFolder(video_id, f"{annotations}/{video_id}"))  # type: ignore[union-attr]
        raw.expressions.extend(_expressions(video_id, sentences, raw))
    return raw


def _folder(root: Path) -> str:
    """Where DAVIS was unpacked: in a folder of its own beside the texts, or together with them."""
    return "DAVIS/" if (root / "DAVIS").is_dir() else ""


def _list_file(root: Path, split: str) -> str:
    return f"{_folder(root)}ImageSets/2017/{LISTS[split]}"


def _read_lines(root: Path, file: str, encoding: str, faults: list[Fault]) -> list[str]:
    if leads_out(root, file):
        faults.append(led_out(file, ""))
        return []
    try:
        text = (root / file).read_text(encoding=encoding)
    except UnicodeDecodeError as problem:
        problem_text = f"{file} is not {encoding} text ({problem.reason} at byte {problem.start})"
        faults.append(error(file, "", problem_text, DOWNLOAD_AGAIN))
        return []
    except OSError as problem:
        faults.append(error(file, "", f"{file} cannot be read ({problem.strerror})", "Unpack the texts beside DAVIS"))
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _read_sentences(root: Path, file: str, encoding: str, faults: list[Fault]) -> Sentences:
    sentences: Sentences = {}
    for number, line in enumerate(_read_lines(root, file, encoding, faults), start=1):
        parts = _LINE.fullmatch(line)
        if parts is None:
            problem = f'{file} holds a line that is not <video> <object> "<sentence>": {line!r}'
            faults.append(error(file, f"line {number}", problem, DOWNLOAD_AGAIN))
            continue
        key = MISSPELT.get(parts[1], parts[1]), parts[2]
        if key in sentences:
            problem = f"{file} describes object {key[1]} of {key[0]} twice"
            faults.append(error(file, f"line {number}", problem, "Keep one sentence for each object"))
        sentences[key] = parts[3]
    return sentences


def _expressions(video_id: str, sentences: list[Sentences], raw: RawSplit) -> list[RawExpression]:
    objects = sorted({number for found in sentences for video, number in found if video == video_id})  # as text
    expressions = []
    for k, number in enumerate(objects):
        for a, ((name, _), found) in enumerate(zip(FILES, sentences, strict=True)):
            expression_id, text = str(4 * k + a), found.get((video_id, number))
            if text is None:
                problem = f"{TEXTS}/{name} says nothing about object {number} of {video_id}, the other files do"
                raw.faults.append(error(f"{TEXTS}/{name}", f"video {video_id}", problem, DOWNLOAD_AGAIN))
            elif check_text(f"{TEXTS}/{name}", video_id, expression_id, text, raw.faults):
                expressions.append(RawExpression(video_id, expression_id, text, (number,), (number,)))
    return expressions
