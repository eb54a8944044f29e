"""Which sentences of `glus segment` to look at first: where the selector and the model itself disagree most."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from glus.errors import InputError
from glus.files import read_json
from glus.masks import decode_rle
from glus.own.readers.segmented import result_folders
from glus.own.videos import VideoFolder
from glus.records.tables import read_table
from glus.reporting.overlays import overlay
from glus.reporting.pages import page_environment
from glus.reporting.palette import COLOURS
from glus.reporting.pictures import data_uri
from glus.segmenting.outputs import MASKS, RESULT

TABLE, PAGE, TEMPLATE = "review.csv", "review.html", "review.html"
COLUMNS = ["frame_name", "sentence_number", "sentence", "height_px", "width_px", "rle_counts", "seg_token_generated"]
PICTURE_PX, MOST_PICTURED = 480, 60


@dataclass(frozen=True)
class Reviewed:
    """A sentence about a video.

    Attributes:
        folder: the result of the video.
        disagreement: mean over frames of |selector's score - stability of the mask|, 0..1; without a selector of
            1 - stability.
        unanswered: share of frames without [SEG].
        frame: where the disagreement is largest, a row of the table of masks.
    """

    folder: Path
    video: str
    sentence: str
    disagreement: float
    unanswered: float
    frame: dict[str, Any]


def review(folders: Sequence[Path]) -> list[Reviewed]:
    """The sentences of all results, what to look at first first.

    The selector foresees from the picture how well a frame is segmented (4.4); `stability` is what the model's own
    logits say of the mask. Where one is sure and the other is not, one of them is wrong.

    Raises:
        InputError: no results, or damaged ones.
    """
    found = []
    for folder in [result for given in folders for result in result_folders(given)]:
        by_sentence: dict[int, list[dict[str, Any]]] = defaultdict(list)
        try:
            rows = read_table("segmented", folder / MASKS, [*COLUMNS, "stability", "selector_score"]).to_pylist()
        except (OSError, KeyError, pa.ArrowException) as problem:
            raise InputError(f"{folder / MASKS} cannot be read ({problem}). Segment the video again.") from problem
        for row in rows:
            by_sentence[row["sentence_number"]].append(row)
        video = str(read_json(folder / RESULT).get("video"))
        found += [_reviewed(folder, video, rows) for rows in by_sentence.values()]
    return sorted(found, key=lambda item: (-item.disagreement, item.video, item.sentence))


def _reviewed(folder: Path, video: str, rows: list[dict[str, Any]]) -> Reviewed:
    stable = np.array([row["stability"] for row in rows])
    foreseen = np.array([1.0 if row["selector_score"] is None else row["selector_score"] for row in rows])
    apart = np.abs(foreseen.clip(0, 1) - stable)
    unanswered = 1 - float(np.mean([row["seg_token_generated"] for row in rows]))
    return Reviewed(folder, video, rows[0]["sentence"], float(apart.mean()), unanswered, rows[int(apart.argmax())])


def to_csv(found: Sequence[Reviewed]) -> str:
    """The list as a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "video", "sentence", "disagreement", "no_seg_share", "worst_frame", "result"])
    for rank, item in enumerate(found, start=1):
        frame = item.frame["frame_name"]
        row = [
            rank,
            item.video,
            item.sentence,
            f"{item.disagreement:.3f}",
            f"{item.unanswered:.3f}",
            frame,
            item.folder,
        ]
        table.writerow(row)
    return text.getvalue()


def to_page(found: Sequence[Reviewed], videos: VideoFolder) -> str:
    """The list as a page with the worst frame of each of the first sentences.

    Raises:
        InputError: a video is not there.
    """
    cards = [(item, _picture(item, videos)) for item in found[:MOST_PICTURED]]
    return (
        page_environment(Path(__file__).parent / "templates")
        .get_template(TEMPLATE)
        .render(cards=cards, num_more=len(found) - len(cards))
    )


def _picture(item: Reviewed, videos: VideoFolder) -> str:
    row = item.frame
    _, frames = videos.find(item.video, str(item.folder / RESULT))
    if row["frame_name"] not in frames.frame_names or frames.size != (row["width_px"], row["height_px"]):
        raise InputError(
            f"{item.folder} was not made of {frames.name}. Name the folder of the videos that were segmented."
        )
    frame = np.asarray(frames[frames.frame_names.index(row["frame_name"])])
    mask = decode_rle(row["rle_counts"], row["height_px"], row["width_px"])
    content = io.BytesIO()
    overlay(frame, [mask], COLOURS[:1], PICTURE_PX).save(content, "JPEG", quality=80)
    return data_uri(content.getvalue())
