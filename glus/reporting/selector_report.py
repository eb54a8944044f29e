"""One picture of a selector: scores over time with the labels under them, calibration, the worth of its key frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glus.metrics.by_key_frame import ByKeyFrame
from glus.reporting.figures import STYLE
from glus.reporting.palette import COLOURS, FAINT, INK, Colour

NUM_CURVES = 6
BINS = 10  # of the calibration plot
SOURCE_COLOURS = {"first": FAINT, "random": COLOURS[5], "selected": COLOURS[2], "oracle": COLOURS[4]}


@dataclass(frozen=True)
class ScoredTrack:
    """One expression of a held-out video.

    Attributes:
        title: the expression.
        family: what it speaks of; empty where the set does not say.
        scores: float [T].
        targets: float [T], the labels, IoU in 0..1.
        jf: J&F in percent by the key frame.
    """

    title: str
    family: str
    scores: np.ndarray
    targets: np.ndarray
    jf: ByKeyFrame


def draw_selector_report(tracks: Sequence[ScoredTrack], path: Path) -> None:
    """Draws the picture as PNG; equal tracks give equal bytes."""
    shown = choose_tracks(tracks)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 8.4), layout="constrained", dpi=110)
        grid = figure.add_gridspec(2, 1, height_ratios=(3, 2))
        above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
        panels = above.subplots(2, NUM_CURVES // 2, sharey=True, squeeze=False).flatten()
        for number, panel in enumerate(panels):
            if number < len(shown):
                _draw_track(panel, shown[number], with_legend=number == 0)
            else:
                panel.axis("off")
        left, right = below.subplots(1, 2, width_ratios=(2, 3))
        _draw_calibration(left, tracks)
        _draw_worth(right, tracks)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", metadata={"Software": None})


def choose_tracks(tracks: Sequence[ScoredTrack]) -> list[ScoredTrack]:
    """From each family in turn, from the middle of its ranking by L1 outwards: neither the best nor the worst."""
    families: dict[str, list[ScoredTrack]] = {}
    for track in sorted(tracks, key=lambda item: float(np.abs(item.scores - item.targets).mean())):
        families.setdefault(track.family, []).append(track)
    queues = [_middle_out(families[name]) for name in sorted(families)]
    in_turn = [track for row in zip_longest(*queues) for track in row if track is not None]
    return in_turn[:NUM_CURVES]


def _middle_out(ranked: Sequence[ScoredTrack]) -> list[ScoredTrack]:
    middle = len(ranked) // 2
    return [ranked[index] for index in sorted(range(len(ranked)), key=lambda index: abs(index - middle))]


def _rgb(colour: Colour) -> tuple[float, ...]:
    return tuple(value / 255 for value in colour)


def _draw_track(axes: Axes, track: ScoredTrack, *, with_legend: bool) -> None:
    frames = range(len(track.scores))
    axes.fill_between(frames, track.targets, color=_rgb(COLOURS[1]), alpha=0.25, linewidth=0, label="pseudo-IoU")
    axes.plot(frames, track.scores, color=_rgb(COLOURS[3]), linewidth=1.8, marker="o", markersize=3, label="score")
    key_frame = int(np.argmax(track.scores))
    axes.axvline(key_frame, color=_rgb(COLOURS[2]), linewidth=1.6, linestyle=(0, (3, 2)), label="key frame")
    axes.set_title(f"{track.title}\n{track.family}".strip(), fontsize=8, color=_rgb(INK))
    axes.set_ylim(-0.3, 1.3)  # scores are unbounded
    if with_legend:
        axes.legend(fontsize=7, frameon=False, loc="lower right")


def _draw_calibration(axes: Axes, tracks: Sequence[ScoredTrack]) -> None:
    """Mean label of the frames by their score, and how many frames each point stands for."""
    scores = np.concatenate([track.scores for track in tracks])
    targets = np.concatenate([track.targets for track in tracks])
    bins = np.clip((scores * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    means = np.divide(np.bincount(bins, targets, BINS), counts, out=np.full(BINS, np.nan), where=counts > 0)
    centres = (np.arange(BINS) + 0.5) / BINS
    axes.bar(centres, counts / counts.max(), width=0.9 / BINS, color="#e3e6ec", label="frames (share of most)")
    axes.plot([0, 1], [0, 1], color="#c5cad3", linewidth=1)
    axes.plot(centres, means, color=_rgb(COLOURS[3]), marker="o", markersize=4, label="mean pseudo-IoU")
    axes.set(title="Calibration", xlabel="score", ylabel="pseudo-IoU", xlim=(0, 1), ylim=(0, 1.05))
    axes.legend(fontsize=7, frameon=False, loc="upper left")


def _draw_worth(axes: Axes, tracks: Sequence[ScoredTrack]) -> None:
    """J&F by the source of the key frame, for each family and for all."""
    families = sorted({track.family for track in tracks if track.family})
    groups = {name: [track for track in tracks if track.family == name] for name in families} | {"all": list(tracks)}
    width = 0.8 / len(SOURCE_COLOURS)
    for number, (source, colour) in enumerate(SOURCE_COLOURS.items()):
        places = np.arange(len(groups)) + (number - 1.5) * width
        values = [float(np.mean([getattr(track.jf, source) for track in members])) for members in groups.values()]
        bars = axes.bar(places, values, width, color=_rgb(colour), label=source)
        axes.bar_label(bars, fmt="%.0f", fontsize=7, color=_rgb(FAINT))
    labels = [f"{name}\n{len(members)} expressions" for name, members in groups.items()]
    axes.set_xticks(range(len(groups)), labels)
    axes.set(title="J&F by key frame", ylabel="J&F, percent", ylim=(0, 105))
    axes.legend(fontsize=7, frameon=False, ncols=4, loc="upper left")
