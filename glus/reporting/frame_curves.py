"""One expression frame by frame as SVG: the selector's scores, J, and how each frame fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glus.metrics.failures import Failure
from glus.reporting.figures import STYLE, to_svg
from glus.reporting.palette import COLOURS, FAINT, INK, LINES, Colour, hex_colour
from glus.reporting.verdicts import FAILURE_TITLES

FAILURE_COLOURS: dict[Failure, Colour] = {
    Failure.BOUNDARY: (247, 200, 66),
    Failure.EXTENT: (255, 139, 0),
    Failure.WRONG_OBJECT: (214, 58, 72),
    Failure.MISSED: (76, 132, 255),
    Failure.EMPTY: (84, 94, 112),
    Failure.FALSE_ALARM: (150, 92, 230),
}
# Beside the colours, for those who do not tell them apart and for black and white.
FAILURE_HATCHES = {
    Failure.BOUNDARY: "",
    Failure.EXTENT: "//",
    Failure.WRONG_OBJECT: "xx",
    Failure.MISSED: "..",
    Failure.EMPTY: "++",
    Failure.FALSE_ALARM: "||",
}
FAILURE_MARKERS = {
    Failure.BOUNDARY: "_",
    Failure.EXTENT: "d",
    Failure.WRONG_OBJECT: "x",
    Failure.MISSED: "o",
    Failure.EMPTY: "s",
    Failure.FALSE_ALARM: "^",
}


def draw_frame_curves(
    frame_scores: Sequence[float],
    j: Mapping[str, Sequence[float]],
    failures: Sequence[Failure | None] = (),
    key_frame: int | None = None,
    shaded: Sequence[int] = (),
) -> str:
    """The selector's score of each frame, J of the predicted masks under it, and the key frame through both (SVG).

    Args:
        frame_scores: the selector's; no panel where empty.
        j: label of a way to predict -> J of each frame, the model's own first; no panel where empty.
        failures: how each frame of the first one fails: a coloured mark under the curve.
        key_frame: its index; no line where None.
        shaded: frames with another background.
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
            for index in shaded:
                panel.axvspan(index - 0.5, index + 0.5, color="#d9dce2", linewidth=0, zorder=0)
            if key_frame is not None:
                panel.axvline(key_frame, color=hex_colour(COLOURS[2]), linewidth=1.6, linestyle=(0, (3, 2)))
        num_frames = len(next(iter(j.values()), frame_scores))
        panels[-1].set_xlabel("frame", color=hex_colour(FAINT))
        panels[-1].set_xlim(-0.5, num_frames - 0.5)
        return to_svg(figure)


def _draw_j(panel: Axes, j: Mapping[str, Sequence[float]], failures: Sequence[Failure | None]) -> None:
    for number, (label, values) in enumerate(j.items()):
        _draw_frames(panel, values, COLOURS[number], label if len(j) > 1 else None, LINES[number % len(LINES)])
    for kind, title in FAILURE_TITLES.items():
        frames = [index for index, found in enumerate(failures) if found is kind]
        if frames:
            colour = hex_colour(FAILURE_COLOURS[kind])
            panel.scatter(frames, [-0.14] * len(frames), s=20, marker=FAILURE_MARKERS[kind], color=colour, label=title)
    panel.set_ylim(-0.22, 1.05)
    if panel.get_legend_handles_labels()[0]:
        panel.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_frames(
    panel: Axes, values: Sequence[float], colour: Colour, label: str | None = None, line: str = "-"
) -> None:
    style: dict[str, Any] = {"linewidth": 1.8, "linestyle": line, "marker": "o", "markersize": 3}
    panel.plot(range(len(values)), values, color=hex_colour(colour), label=label, **style)
