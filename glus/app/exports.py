"""What a visitor takes along: the forms of `glus segment`, each as one file."""

from __future__ import annotations

import shutil
from pathlib import Path

from glus.app.sentences import AskedSentence
from glus.app.visitor import Visitor
from glus.errors import InputError
from glus.records.tables import TableWriter
from glus.segmenting.outputs import COCO, MASKS, OVERLAY, FinishedVideo, write_forms, write_overlay
from glus.segmenting.requests import Format
from glus.segmenting.rows import AskedRow

FILM = "overlay"
FORMS = {
    FILM: "Overlay film (mp4)",
    Format.PNG: "Masks, a PNG for each frame and sentence (zip)",
    Format.PALETTE: "Masks, one indexed PNG for each frame (zip)",
    Format.CUTOUT: "Cut-out with alpha, PNG (zip)",
    Format.COCO: "COCO for videos (json)",
    Format.PARQUET: "Run lengths (Parquet)",
}
FOLDERS = {Format.PNG: "masks", Format.PALETTE: "palette", Format.CUTOUT: "cutout"}


def export(visitor: Visitor, form: str) -> Path:
    """Writes one of `FORMS` into the visitor's folder and returns the file, named after the video.

    Frames that are not segmented for every sentence are left out.

    Raises:
        InputError: nothing to export yet.
    """
    clip, sentences, _ = visitor.now()
    if clip is None or not sentences:
        raise InputError("There is nothing to export yet: choose a video, type a sentence and press Segment.")
    part = _common_frames(sentences)
    target = visitor.folder / "export"
    shutil.rmtree(target, ignore_errors=True)  # of the export before
    target.mkdir(parents=True)
    rows = [
        AskedRow(number, asked.text, asked.key_frame or 0, None if asked.scores is None else asked.scores.tolist())
        for number, asked in enumerate(sentences)
    ]
    with TableWriter("segmented", target / MASKS) as table:
        for place in part:
            for row, asked in zip(rows, sentences, strict=True):
                table.add(row.of(clip, place, asked.found[place]))
    key_frames = [row.key_frame - part.start for row in rows]
    result = FinishedVideo(target, clip[part.start : part.stop], tuple(row.text for row in rows), key_frames)
    if form == FILM:
        write_overlay(result)
    else:
        write_forms(result, (Format(form),))
    return _as_one_file(target, form, Path(clip.name).stem)


def _common_frames(sentences: list[AskedSentence]) -> range:
    """The frames that all sentences have, which are one piece: each grows from its key frame both ways."""
    common = set.intersection(*(set(asked.found) for asked in sentences))
    part = range(min(common), max(common) + 1) if common else range(0)
    if any((asked.key_frame or 0) not in part for asked in sentences):
        raise InputError("Not every sentence has been segmented far enough to export; press Segment to go on.")
    return part


def _as_one_file(target: Path, form: str, stem: str) -> Path:
    if form in FOLDERS:
        folder = FOLDERS[Format(form)]
        return Path(shutil.make_archive(str(target / f"{stem}-{form}"), "zip", target, folder))
    made = {FILM: OVERLAY, Format.COCO: COCO, Format.PARQUET: MASKS}[form]
    return (target / made).rename(target / f"{stem}-{made}")
