"""One expression as a card of the report: a strip of overlays, a short film, and its curves over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from glus.masks import decode_rle
from glus.metrics.failures import FrameFailures, costliest, lost_by_kind
from glus.metrics.scoring import ExpressionScore, Track
from glus.records.split import StagedSplit
from glus.records.video import Expression, Video
from glus.reporting.frame_curves import draw_frame_curves
from glus.reporting.overlays import StripRow, draw_frames, draw_strip
from glus.reporting.palette import COLOURS, TRUTH_COLOUR
from glus.reporting.short_films import film_frames, write_short_film
from glus.reporting.verdicts import FAILURE_TITLES

NUM_COLUMNS = 6
FILM = ".webp"


@dataclass(frozen=True)
class Card:
    """A finished card: heading, sentence, the facts under it, files of the picture and the film, curves (SVG)."""

    title: str
    sentence: str
    facts: str
    picture: Path
    film: Path | None
    curve: str | None

    @classmethod
    def from_json(cls, values: Mapping[str, Any], folder: Path) -> Card:
        """What `to_json` wrote, with the pictures that lie in a folder, and nowhere else."""
        picture = folder / Path(values["picture"]).name
        curve, film = picture.with_suffix(".svg"), picture.with_suffix(FILM)
        shown = curve.read_text(encoding="utf-8") if curve.is_file() else None
        return cls(
            values["title"], values["sentence"], values["facts"], picture, film if film.is_file() else None, shown
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; pictures by their names."""
        return {
            "title": self.title,
            "sentence": self.sentence,
            "facts": self.facts,
            "picture": self.picture.name,
        }


@dataclass(frozen=True)
class AskedClip:
    """Sentences about one clip, and a picture of its frames."""

    sentences: Sequence[str]
    picture: Path

    @classmethod
    def from_json(cls, values: Mapping[str, Any], folder: Path) -> AskedClip:
        """What `to_json` wrote, with the picture that lies in a folder, and nowhere else."""
        return cls(values["sentences"], folder / Path(values["picture"]).name)

    def to_json(self) -> dict[str, Any]:
        """Plain data; the picture by its name."""
        return {"sentences": list(self.sentences), "picture": self.picture.name}


@dataclass(frozen=True)
class ShownExpression:
    """One expression with all that is drawn of it.

    Attributes:
        expression: what was asked.
        answers: label of a way to predict -> its track; the first one is the model's own.
        score: None where the split has no ground truth.
        failures: how each frame of the model's own answer fails; None as well.
        frame_scores: the selector's score of each frame; empty where there are none.
        key_frame: its index.
    """

    expression: Expression
    answers: Mapping[str, Track]
    score: ExpressionScore | None
    failures: FrameFailures | None
    frame_scores: Sequence[float]
    key_frame: int | None


def draw_card(title: str, shown: ShownExpression, split: StagedSplit, picture: Path) -> Card:
    """Draws the strip of an expression into a file, its film and its curves into others beside it.

    Args:
        title: heading of the card.
        shown: what is drawn.
        split: the staged split that the frames and the ground truth come from.
        picture: the file to write (JPEG); the film has its name and `.webp`, the curves `.svg`.
    """
    video, score = split.videos[shown.expression.video_id], shown.score
    columns = shown_frames(video.num_frames, shown.key_frame)
    frames = [_frame(split, video, index) for index in columns]
    names = [f"frame {index}{' · key' if index == shown.key_frame else ''}" for index in columns]
    rows = []
    if score is not None:
        rows.append(StripRow("ground truth", split.target_masks(shown.expression, columns), TRUTH_COLOUR, names))
    for number, (label, track) in enumerate(shown.answers.items()):
        masks = _masks(track, video, columns)
        values = _j_of(shown, label)
        notes = names if values is None else [f"J {100 * values[index]:.0f}" for index in columns]
        rows.append(StripRow(label.replace("_", " "), masks, COLOURS[number], notes))
    key_column = columns.index(shown.key_frame) if shown.key_frame is not None else None
    picture.parent.mkdir(parents=True, exist_ok=True)
    strip = draw_strip(frames, rows, shown.expression.text, key_column)
    strip.save(picture, quality=80, subsampling=1)
    film = picture.with_suffix(FILM)
    _write_film(shown, split, film)
    curve = _draw_curves(shown, video.ambiguous_frames)
    if curve:
        picture.with_suffix(".svg").write_text(curve, encoding="utf-8")
    return Card(title, shown.expression.text, _facts(shown), picture, film, curve)


def _write_film(shown: ShownExpression, split: StagedSplit, film: Path) -> None:
    """The true masks and those of each answer, in the order of the strip's rows."""
    video = split.videos[shown.expression.video_id]
    indices = film_frames(video.num_frames)
    sides = []
    if shown.score is not None:
        sides.append((split.target_masks(shown.expression, indices), TRUTH_COLOUR))
    for number, track in enumerate(shown.answers.values()):
        sides.append((_masks(track, video, indices), COLOURS[number]))
    write_short_film((_frame(split, video, index) for index in indices), sides, film)


def _frame(split: StagedSplit, video: Video, index: int) -> np.ndarray:
    return np.asarray(Image.open(split.frame_path(video, index)).convert("RGB"))


def _masks(track: Track, video: Video, indices: Sequence[int]) -> np.ndarray:
    return np.stack([decode_rle(track[index], video.height_px, video.width_px) for index in indices])


def draw_asked(expressions: Sequence[Expression], split: StagedSplit, picture: Path) -> AskedClip:
    """Draws frames of a clip, without masks, into a file (JPEG).

    Args:
        expressions: about this clip.
    """
    video = split.videos[expressions[0].video_id]
    columns = shown_frames(video.num_frames, None)
    frames = [_frame(split, video, index) for index in columns]
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw_frames(frames, [f"frame {index}" for index in columns]).save(picture, quality=80, subsampling=1)
    return AskedClip([expression.text for expression in expressions], picture)


def _draw_curves(shown: ShownExpression, shaded: Sequence[int]) -> str | None:
    j = {label.replace("_", " "): values for label in shown.answers if (values := _j_of(shown, label))}
    if not j and not shown.frame_scores:
        return None
    failures = shown.failures.kinds if shown.failures else ()
    return draw_frame_curves(shown.frame_scores, j, failures, shown.key_frame, shaded)


def _j_of(shown: ShownExpression, label: str) -> Sequence[float] | None:
    """J of each frame of one answer."""
    if shown.score is None:
        return None
    return shown.score.j if label == next(iter(shown.answers)) else shown.score.comparisons[label]


def shown_frames(num_frames: int, key_frame: int | None) -> list[int]:
    """Evenly spaced frames; the one that is nearest to the key frame gives way to it."""
    spaced = np.unique(np.linspace(0, num_frames - 1, min(NUM_COLUMNS, num_frames)).round().astype(int))
    if key_frame is not None:
        spaced[np.abs(spaced - key_frame).argmin()] = key_frame
    return [int(index) for index in spaced]


def _facts(shown: ShownExpression) -> str:
    where = f"video {shown.expression.video_id}, expression {shown.expression.expression_id}"
    if shown.score is None or shown.failures is None:
        return where
    referent = {True: ", right object", False: ", wrong object", None: ""}[shown.score.referent_correct]
    lost = lost_by_kind(shown.score, shown.failures)
    kind = costliest(lost)
    most = f", most lost by {FAILURE_TITLES[kind]} ({100 * lost[kind]:.0f} points)" if kind else ""
    return f"J {100 * shown.score.mean_j:.1f}, F {100 * shown.score.mean_f:.1f}{referent}{most} · {where}"
