"""The style of all charts, and the curves of training as SVG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glus.reporting.palette import COLOURS, FAINT, INK, LINES, hex_colour

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
    "xtick.color": hex_colour(FAINT),
    "ytick.color": hex_colour(FAINT),
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.grid": True,
    "grid.color": "#eceef2",
    "axes.axisbelow": True,
}
LOSSES = {  # columns of the curves, and how they are called
    "loss": "loss", "ce": "ce", "bce": "bce", "dice": "dice", "con": "contrastive",
    "naming": "naming", "pointing": "pointing",
}  # fmt: skip


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
            colour, line = hex_colour(COLOURS[number % len(COLOURS)]), LINES[number % len(LINES)]
            panel.plot(rows["step"], rows[name], color=colour, linestyle=line, label=str(phase))
    panel.set_title(LOSSES[name], loc="left", fontsize=9, color=hex_colour(INK))
    panel.set_ylim(bottom=0)
    panel.set_xlabel("step", color=hex_colour(FAINT))
    if name == next(iter(LOSSES)):
        panel.legend(frameon=False, fontsize=8)


def to_svg(figure: Figure) -> str:
    """A figure as text: without the XML declaration, so that it can stand in a page as well as in a file."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
