"""Two runs side by side: a page with the differences and pictures of where the second loses most."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np

from glus.errors import InputError
from glus.evaluation.answers import PngTrack, decode_masks
from glus.evaluation.comparison import ComparedSplit, expression_of
from glus.masks import decode_rle, union
from glus.media.pictures import read_frame
from glus.metrics.pairing import Pair
from glus.reporting.cards import shown_frames
from glus.reporting.overlays import StripRow, draw_strip
from glus.reporting.pages import page_environment
from glus.reporting.palette import COLOURS, TRUTH_COLOUR
from glus.reporting.pictures import data_uri

TEMPLATE = "comparison.html"


def write_comparison(
    splits: list[ComparedSplit],
    alone: list[str],
    names: tuple[str, str],
    path: Path,
    *,
    heading: str = "Where B loses most",
    pictured: Callable[[ComparedSplit], Sequence[Pair]] = attrgetter("worst"),
) -> None:
    """Writes the page, everything in one file.

    Args:
        alone: splits that only one run has, in words.
        names: of A and B.
        heading: of the pictures.
        pictured: the sentences of a split that are drawn.
    """
    sections = [{"split": split, "cards": [_card(split, pair) for pair in pictured(split)]} for split in splits]
    page = (
        page_environment()
        .get_template(TEMPLATE)
        .render(sections=sections, alone=alone, a=names[0], b=names[1], heading=heading)
    )
    path.write_text(page, encoding="utf-8")


def _card(split: ComparedSplit, pair: Pair) -> dict[str, str]:
    video_id, expression_id = pair.key
    facts = f"J&F {100 * pair.a.jf:.1f} and {100 * pair.b.jf:.1f} · video {video_id}, expression {expression_id}"
    card = {"title": f"{100 * pair.gain:+.1f} points", "sentence": expression_of(split.truth, pair.key).text}
    try:
        picture = _strip(split, pair)
    except InputError as problem:
        return card | {"facts": f"{facts} · not drawn: {problem}", "picture": ""}
    return card | {"facts": facts, "picture": picture}


def _strip(split: ComparedSplit, pair: Pair) -> str:
    """Frames with the ground truth and both answers, as a picture in a page."""
    truth, video = split.truth, split.truth.videos[pair.key[0]]
    columns, expression = shown_frames(video.num_frames, None), expression_of(split.truth, pair.key)
    frames = [np.asarray(read_frame(truth.frame_path(video, index))) for index in columns]
    size, tracks = (video.height_px, video.width_px), truth.mask_rles(video.video_id)
    meant = [tracks[name] for name in expression.annotation_ids if name in tracks]
    targets = [union((decode_rle(track[at], *size) for track in meant if at in track), *size) for at in columns]
    rows = [StripRow("ground truth", np.stack(targets), TRUTH_COLOUR, [f"frame {index}" for index in columns])]
    for number, (label, answers, score) in enumerate(zip("AB", split.answers, (pair.a, pair.b), strict=True)):
        track = answers.tracks[pair.key]
        wanted = (
            PngTrack(track.folder, {index: track.files[index] for index in columns})
            if isinstance(track, PngTrack)
            else {index: track[index] for index in columns}
        )
        masks = np.stack([mask for _, mask in decode_masks(wanted, video)])
        rows.append(StripRow(label, masks, COLOURS[number], [f"J {100 * score.j[index]:.0f}" for index in columns]))
    content = io.BytesIO()
    draw_strip(frames, rows, expression.text, None).save(content, "JPEG", quality=80, subsampling=1)
    return data_uri(content.getvalue())
