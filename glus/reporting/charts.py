"""The pictures of one split as a whole (SVG): where J&F is lost, what key frames are worth, how scores spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glus.evaluation.results import ScoredSplit
from glus.metrics.failures import Losses
from glus.metrics.key_frames import KeyFrameRegret
from glus.metrics.scoring import ExpressionScore
from glus.reporting.distributions import EDGES, EVERYTHING, POSITIONS, Histogram, histograms, time_curves
from glus.reporting.figures import STYLE, to_svg
from glus.reporting.frame_curves import FAILURE_COLOURS, FAILURE_HATCHES
from glus.reporting.palette import COLOURS, FAINT, INK, PAPER, Colour, hex_colour
from glus.reporting.verdicts import FAILURE_TITLES, KEY_FRAME_TITLES, Row, failure_rows, regret_rows

WIDTH = 10.6  # inches, of the page's column
MOST_PANELS_IN_A_ROW = 5
KEPT_COLOUR: Colour = (207, 232, 220)
LEAST_LABELLED = 3  # points of a bar's part that has room for a number
MARKS: dict[str, dict[str, Any]] = {
    "first": {"marker": "s", "s": 30, "color": hex_colour(FAINT), "edgecolors": "white", "zorder": 3},
    "random": {"marker": "D", "s": 30, "color": hex_colour(COLOURS[1]), "edgecolors": "white", "zorder": 3},
    "selected": {"marker": "o", "s": 44, "color": hex_colour(COLOURS[0]), "edgecolors": "white", "zorder": 4},
    "oracle": {"marker": "|", "s": 120, "color": hex_colour(INK), "linewidths": 2.4, "zorder": 2},
}


def draw_charts(scores: Sequence[ExpressionScore], split: ScoredSplit) -> dict[str, str]:
    """All pictures of one split, by name.

    Args:
        scores: of its expressions.
        split: what was found.
    """
    charts = {}
    if split.failures:
        charts["failures"] = draw_failures(failure_rows(split.failures.losses))
    if split.key_frame_regret:
        charts["key_frames"] = draw_key_frames(regret_rows(split.key_frame_regret))
    return charts | {"histograms": draw_histograms(histograms(scores)), "time": draw_time_curves(time_curves(scores))}


def write_charts(charts: Mapping[str, str], folder: Path) -> None:
    """Writes each picture as a file of its own."""
    folder.mkdir(parents=True)
    for name, svg in charts.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")


def draw_failures(rows: Sequence[Row[Losses]]) -> str:
    """One bar of 100 points for each row: the J&F that is reached, and what each kind of failure costs."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _bars([row.name for row in rows])
        parts = [("J&F", KEPT_COLOUR, "", [row.result.kept for row in rows])] + [
            (title, FAILURE_COLOURS[kind], FAILURE_HATCHES[kind], [row.result.kinds[kind] for row in rows])
            for kind, title in FAILURE_TITLES.items()
        ]
        start = [0.0] * len(rows)
        for title, colour, hatch, points in parts:
            if any(points):
                look: dict[str, Any] = {
                    "color": hex_colour(colour),
                    "hatch": hatch,
                    "edgecolor": hex_colour(PAPER),
                    "linewidth": 0.8,
                }
                bars = axes.barh(range(len(rows)), points, 0.7, left=start, label=title, **look)
                labels = [f"{value:.0f}" if value >= LEAST_LABELLED else "" for value in points]
                behind = {"facecolor": hex_colour(PAPER), "edgecolor": "none", "pad": 1.2} if hatch else None
                axes.bar_label(bars, labels, label_type="center", fontsize=8, color=hex_colour(INK), bbox=behind)
            start = [left + width for left, width in zip(start, points, strict=True)]
        axes.set_xlim(0, 100)
        axes.set_xlabel("points of J&F", color=hex_colour(FAINT))
        figure.legend(loc="outside upper left", ncols=len(parts), frameon=False, fontsize=9, handlelength=1)
        return to_svg(figure)


def draw_key_frames(rows: Sequence[Row[KeyFrameRegret]]) -> str:
    """One line for each row, from the J&F of the first to that of the oracle's frame, the other key frames on it."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _bars([row.name for row in rows])
        by_row = [asdict(row.result.jf) for row in rows]
        for place, jf in enumerate(by_row):
            known = [value for value in jf.values() if value is not None]
            axes.plot([min(known), max(known)], [place, place], color="#d9dce2", linewidth=3, zorder=1)
        for source, title in KEY_FRAME_TITLES.items():
            points = [(jf[source], place) for place, jf in enumerate(by_row) if jf[source] is not None]
            if points:
                axes.scatter(*zip(*points, strict=True), label=title, **MARKS[source])
        axes.set_xlim(-1, 101)
        axes.set_xlabel("J&F, percent", color=hex_colour(FAINT))
        figure.legend(loc="outside upper left", ncols=len(KEY_FRAME_TITLES), frameon=False, fontsize=9)
        return to_svg(figure)


def _bars(names: Sequence[str]) -> tuple[Figure, Axes]:
    """A picture with one named line for each row, from top to bottom."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), names, color=hex_colour(INK))
    axes.set_ylim(len(names) - 0.5, -0.5)
    if len(names) > 1:
        axes.axhline(len(names) - 1.5, color="#c5cad3", linewidth=0.8)  # above what stands for all
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    return figure, axes


def draw_histograms(measures: Sequence[Histogram]) -> str:
    """The share of expressions (bars) and of frames (line) in each bin of J and of F."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
        for number, (panel, histogram) in enumerate(
            zip(figure.subplots(1, len(measures), sharey=True), measures, strict=True)
        ):
            expressions, frames = (100 * counts / counts.sum() for counts in (histogram.expressions, histogram.frames))
            colour = hex_colour(COLOURS[number])
            panel.stairs(expressions, 100 * EDGES, fill=True, color=colour, alpha=0.35, label="expressions")
            panel.stairs(frames, 100 * EDGES, color=colour, linewidth=1.5, label="frames")
            panel.set_title(histogram.measure, loc="left", fontsize=10, color=hex_colour(INK))
            panel.set_xlim(0, 100)
            panel.set_xlabel("percent", color=hex_colour(FAINT))
            panel.legend(frameon=False, fontsize=8, loc="upper center")
            if not number:
                panel.set_ylabel("share, percent", color=hex_colour(INK))
        return to_svg(figure)


def draw_time_curves(curves: Mapping[str, Any]) -> str:
    """Mean J over the time of a clip: a panel for each family, with the mean over all expressions in grey."""
    names = [name for name in curves if name != EVERYTHING] or [EVERYTHING]
    lines = math.ceil(len(names) / MOST_PANELS_IN_A_ROW)
    columns = math.ceil(len(names) / lines)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(min(WIDTH, 3.6 * columns), 0.5 + 1.6 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for panel, name in zip(panels.flat, names, strict=False):
            panel.plot(
                100 * POSITIONS, 100 * curves[EVERYTHING], color=hex_colour(FAINT), linewidth=1.2, linestyle="--"
            )
            panel.plot(100 * POSITIONS, 100 * curves[name], color=hex_colour(COLOURS[0]), linewidth=1.8)
            panel.set_title(name, loc="left", fontsize=9, color=hex_colour(INK))
            panel.set_ylim(0, 100)
        for column in range(columns - (lines * columns - len(names)), columns):
            panels[-1, column].set_visible(False)
            panels[-2, column].tick_params(labelbottom=True)
        figure.supxlabel("percent of the clip's time", fontsize=9, color=hex_colour(FAINT))
        figure.supylabel("mean J, percent", fontsize=9, color=hex_colour(FAINT))
        return to_svg(figure)
