"""Curves as SVG: scores of frames with J under them, and training; the style of all charts."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glus.metrics.failures import Failure
from glus.reporting.overlays import COLOURS, FAINT, INK, Colour
from glus.reporting.verdicts import FAILURE_TITLES

# Equal results give equal files: no random ids (the salt) and no date (in `to_svg`).
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "glus",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c5cad3",
    "axes.linewidth": 0.8,
    "xtick.color": "#707785",
    "ytick.color": "#707785",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "grid.color": "#eceef2",
    "axes.axisbelow": True,
}
FAILURE_COLOURS: dict[Failure, Colour] = {
    Failure.BOUNDARY: (247, 200, 66),
    Failure.EXTENT: (255, 139, 0),
    Failure.WRONG_OBJECT: (214, 58, 72),
    Failure.MISSED: (76, 132, 255),
    Failure.EMPTY: (84, 94, 112),
    Failure.FALSE_ALARM: (150, 92, 230),
}
LOSSES = ("loss", "ce", "bce", "dice", "contrastive")


def hex_colour(colour: Colour) -> str:
    """A colour as matplotlib and CSS write it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def draw_frame_curves(
    frame_scores: Sequence[float],
    j: Mapping[str, Sequence[float]],
    failures: Sequence[Failure | None] = (),
    key_frame: int | None = None,
    grey_frames: Sequence[int] = (),
) -> str:
    """The selector's score of each frame, J of the predicted masks under it, and the key frame through both (SVG).

    Args:
        frame_scores: the selector's; no panel where empty.
        j: label of a way to predict -> J of each frame, the model's own first; no panel where empty.
        failures: how each frame of the first one fails: a coloured mark under the curve.
        key_frame: where propagation started.
        grey_frames: shaded.
    """
    names = [name for name, values in (("score", frame_scores), ("J", j)) if values]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 0.2 + 1.2 * len(names)), layout="constrained")
        panels = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for name, panel in zip(names, panels, strict=True):
            if name == "score":
                _draw_frames(panel, frame_scores, COLOURS[3])
            else:
                _draw_j(panel, j, failures)
            panel.set_ylabel(name, color=hex_colour(INK))
            for index in grey_frames:
                panel.axvspan(index - 0.5, index + 0.5, color="#d9dce2", linewidth=0, zorder=0)
            if key_frame is not None:
                panel.axvline(key_frame, color=hex_colour(COLOURS[2]), linewidth=1.6, linestyle=(0, (3, 2)))
        num_frames = len(next(iter(j.values()), frame_scores))
        panels[-1].set_xlabel("frame", color=hex_colour(FAINT))
        panels[-1].set_xlim(-0.5, num_frames - 0.5)
        return to_svg(figure)


def _draw_j(panel: Axes, j: Mapping[str, Sequence[float]], failures: Sequence[Failure | None]) -> None:
    for number, (label, values) in enumerate(j.items()):
        _draw_frames(panel, values, COLOURS[number], label if len(j) > 1 else None)
    for kind, title in FAILURE_TITLES.items():
        frames = [index for index, found in enumerate(failures) if found is kind]
        if frames:
            colour = hex_colour(FAILURE_COLOURS[kind])
            panel.scatter(frames, [-0.14] * len(frames), s=16, marker="s", color=colour, label=title)
    panel.set_ylim(-0.22, 1.05)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_frames(panel: Axes, values: Sequence[float], colour: Colour, label: str | None = None) -> None:
    panel.plot(
        range(len(values)), values, color=hex_colour(colour), linewidth=1.8, marker="o", markersize=3, label=label
    )


def draw_training_curves(path: Path) -> str:
    """The losses of `metrics/train_curves.csv` over the steps, phases shaded and named (SVG)."""
    table = pd.read_csv(path)
    names = [name for name in LOSSES if name in table and table[name].notna().any()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(names), 2.5), layout="constrained")
        for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            _draw_loss(panel, table, name)
        return to_svg(figure)


def _draw_loss(panel: Axes, table: pd.DataFrame, name: str) -> None:
    for number, (phase, rows) in enumerate(table.groupby("phase", sort=False)):
        rows = rows.dropna(subset=[name])
        if len(rows):
            panel.plot(rows["step"], rows[name], color=hex_colour(COLOURS[number % len(COLOURS)]), label=str(phase))
    panel.set_title(name, loc="left", fontsize=9, color=hex_colour(INK))
    panel.set_ylim(bottom=0)
    panel.set_xlabel("step", color=hex_colour(FAINT))
    if name == LOSSES[0]:
        panel.legend(frameon=False, fontsize=8)


def to_svg(figure: Figure) -> str:
    """A figure as text: without the XML declaration, so that it can stand in a page as well as in a file."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
