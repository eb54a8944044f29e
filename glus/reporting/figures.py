"""Curves as SVG: key-frame scores over time with J under them, and training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glus.reporting.overlays import COLOURS, FAINT, INK, Colour

# Equal results give equal files: no random ids (the salt) and no date (in `_svg`).
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
LOSSES = ("loss", "ce", "bce", "dice", "contrastive")


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def draw_score_curve(
    scores: Sequence[float], j: Sequence[float] | None, key_frame: int | None, grey_frames: Sequence[int] = ()
) -> str:
    """The selector's score of each frame, J of the predicted masks under it, and the key frame through both (SVG)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 2.4 if j is not None else 1.3), layout="constrained")
        axes = figure.subplots(1 if j is None else 2, 1, sharex=True, squeeze=False)[:, 0]
        curves = [("score", scores, COLOURS[3])] + ([] if j is None else [("J", j, COLOURS[0])])
        for panel, (name, values, colour) in zip(axes, curves, strict=True):
            panel.plot(range(len(values)), values, color=_hex(colour), linewidth=1.8, marker="o", markersize=3)
            panel.set_ylabel(name, color=_hex(INK))
            for index in grey_frames:
                panel.axvspan(index - 0.5, index + 0.5, color="#d9dce2", linewidth=0)
            if key_frame is not None:
                panel.axvline(key_frame, color=_hex(COLOURS[2]), linewidth=1.6, linestyle=(0, (3, 2)))
        if j is not None:
            axes[1].set_ylim(-0.03, 1.03)
        axes[-1].set_xlabel("frame", color=_hex(FAINT))
        axes[-1].set_xlim(-0.5, len(scores) - 0.5)
        return _svg(figure)


def draw_training_curves(path: Path) -> str:
    """The losses of `metrics/train_curves.csv` over the steps, phases shaded and named (SVG)."""
    table = pd.read_csv(path)
    names = [name for name in LOSSES if name in table and table[name].notna().any()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.6 * len(names), 2.5), layout="constrained")
        for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            _draw_loss(panel, table, name)
        return _svg(figure)


def _draw_loss(panel: Axes, table: pd.DataFrame, name: str) -> None:
    for number, (phase, rows) in enumerate(table.groupby("phase", sort=False)):
        rows = rows.dropna(subset=[name])
        if len(rows):
            panel.plot(rows["step"], rows[name], color=_hex(COLOURS[number % len(COLOURS)]), label=str(phase))
    panel.set_title(name, loc="left", fontsize=9, color=_hex(INK))
    panel.set_ylim(bottom=0)
    panel.set_xlabel("step", color=_hex(FAINT))
    if name == LOSSES[0]:
        panel.legend(frameon=False, fontsize=8)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
