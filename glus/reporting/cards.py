"""One expression as a card of the report: a strip of overlays, and its curves over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from glus.masks import decode_rle
from glus.metrics.failures import FrameFailures, costliest, lost_by_kind
from glus.metrics.scoring import ExpressionScore, Track
from glus.records.split import Expression, StagedSplit
from glus.reporting.frame_curves import draw_frame_curves
from glus.reporting.overlays import COLOURS, TRUTH_COLOUR, StripRow, draw_strip
from glus.reporting.verdicts import FAILURE_TITLES

NUM_COLUMNS = 6


@dataclass(frozen=True)
class Card:
    """A finished card: its heading, the facts under it, the picture's file and the curves (SVG)."""

    title: str
    facts: str
    picture: Path
    curve: str | None


@dataclass(frozen=True)
class Clip:
    """One expression with all that is drawn of it.

    Attributes:
        expression: what was asked.
        answers: label of a way to predict -> its track; the first one is the model's own.
        score: None where the split has no ground truth.
        failures: how each frame of the model's own answer fails; None as well.
        frame_scores: the selector's score of each frame; empty where there are none.
        key_frame: index of the frame that propagation started from.
    """

    expression: Expression
    answers: Mapping[str, Track]
    score: ExpressionScore | None
    failures: FrameFailures | None
    frame_scores: Sequence[float]
    key_frame: int | None


def draw_card(title: str, clip: Clip, split: StagedSplit, picture: Path) -> Card:
    """Draws the strip of a clip into a file, and its curves into another beside it.

    Args:
        title: heading of the card.
        clip: what is drawn.
        split: the staged split that the frames and the ground truth come from.
        picture: the file to write (JPEG); the curves have its name and `.svg`.
    """
    video, score = split.videos[clip.expression.video_id], clip.score
    columns = shown_frames(video.num_frames, clip.key_frame)
    frames = [np.asarray(Image.open(split.frame_path(video, index)).convert("RGB")) for index in columns]
    names = [f"frame {index}{' · key' if index == clip.key_frame else ''}" for index in columns]
    rows = []
    if score is not None:
        rows.append(StripRow("ground truth", split.target_masks(clip.expression, columns), TRUTH_COLOUR, names))
    for number, (label, track) in enumerate(clip.answers.items()):
        masks = np.stack([decode_rle(track[index], video.height_px, video.width_px) for index in columns])
        values = _j_of(clip, label)
        notes = names if values is None else [f"J {100 * values[index]:.0f}" for index in columns]
        rows.append(StripRow(label.replace("_", " "), masks, COLOURS[number], notes))
    key_column = columns.index(clip.key_frame) if clip.key_frame is not None else None
    picture.parent.mkdir(parents=True, exist_ok=True)
    strip = draw_strip(frames, rows, clip.expression.text, key_column)
    strip.save(picture, quality=80, subsampling=1)
    curve = _draw_curves(clip, video.grey_frames)
    if curve:
        picture.with_suffix(".svg").write_text(curve, encoding="utf-8")
    return Card(title, _facts(clip), picture, curve)


def _draw_curves(clip: Clip, grey_frames: Sequence[int]) -> str | None:
    j = {label.replace("_", " "): values for label in clip.answers if (values := _j_of(clip, label))}
    if not j and not clip.frame_scores:
        return None
    failures = clip.failures.kinds if clip.failures else ()
    return draw_frame_curves(clip.frame_scores, j, failures, clip.key_frame, grey_frames)


def _j_of(clip: Clip, label: str) -> Sequence[float] | None:
    """J of each frame of one answer."""
    if clip.score is None:
        return None
    return clip.score.j if label == next(iter(clip.answers)) else clip.score.comparisons[label]


def shown_frames(num_frames: int, key_frame: int | None) -> list[int]:
    """Evenly spaced frames; the one that is nearest to the key frame gives way to it."""
    spaced = np.unique(np.linspace(0, num_frames - 1, min(NUM_COLUMNS, num_frames)).round().astype(int))
    if key_frame is not None:
        spaced[np.abs(spaced - key_frame).argmin()] = key_frame
    return [int(index) for index in spaced]


def _facts(clip: Clip) -> str:
    where = f"video {clip.expression.video_id}, expression {clip.expression.expression_id}"
    if clip.score is None or clip.failures is None:
        return where
    referent = {True: ", right object", False: ", wrong object", None: ""}[clip.score.referent_correct]
    lost = lost_by_kind(clip.score, clip.failures)
    kind = costliest(lost)
    most = f", most lost by {FAILURE_TITLES[kind]} ({100 * lost[kind]:.0f} points)" if kind else ""
    return f"J {100 * clip.score.mean_j:.1f}, F {100 * clip.score.mean_f:.1f}{referent}{most} · {where}"
