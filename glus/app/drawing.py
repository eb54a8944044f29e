"""What the page shows of a visitor's video: a frame with its masks, and a timeline of each sentence. HTML, no files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from itertools import groupby

import numpy as np
from PIL import Image

from glus.app.sentences import AskedSentence
from glus.app.visitor import Visitor
from glus.masks import decode_rle
from glus.reporting.overlays import overlay
from glus.reporting.palette import colour_of

WIDEST_PX = 960  # of the picture that is sent
HEIGHT = 24  # of a timeline, its own units
NO_VIDEO = '<p class="glus-empty">Upload a video or choose an example.</p>'
# marks of what a frame holds
MASK, BLANK, SILENT, WAITING = "mask", "blank", "silent", "waiting"
LEGEND = {
    MASK: "mask",
    BLANK: "empty mask",
    SILENT: "no [SEG]: the model gave no answer",
    WAITING: "not segmented yet",
}
STYLE = """
.glus-view img { width: 100%; max-height: 60vh; object-fit: contain; background: #111; border-radius: 6px; }
.glus-view ul, .glus-key { list-style: none; padding: 0; margin: .4em 0; }
.glus-view ul, .glus-key { display: flex; flex-wrap: wrap; gap: .2em 1em; }
.glus-chip { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border: 1px solid #0006; }
.glus-empty { padding: 4em 1em; text-align: center; opacity: .7; }
.glus-row p { margin: .5em 0 .1em; }
.glus-row svg { width: 100%; height: 44px; cursor: pointer; display: block; border: 1px solid #8886; }
.glus-key { font-size: .85em; opacity: .85; }
.glus-key li { display: flex; align-items: center; }
.glus-key svg { width: 1.2em; height: 1em; margin-right: .4em; vertical-align: middle; border: 1px solid #8886; }
"""
# a click on a timeline tells its sentence and the frame under the pointer
CLICKED = """
element.addEventListener('click', event => {
  const bar = event.target.closest('svg[data-place]');
  if (!bar) return;
  const box = bar.getBoundingClientRect(), frames = Number(bar.dataset.frames);
  const frame = Math.floor((event.clientX - box.left) / box.width * frames);
  trigger('click', {place: Number(bar.dataset.place), frame: Math.max(0, Math.min(frames - 1, frame))});
});
"""


def draw_view(visitor: Visitor) -> str:
    """The frame that is shown, its masks in the sentences' colours, and what is known of each sentence there."""
    clip, sentences, place = visitor.now()
    if clip is None:
        return NO_VIDEO
    picture = clip[place]
    found = [(colour_of(number), asked.found[place]) for number, asked in enumerate(sentences) if place in asked.found]
    masks = [decode_rle(mask.rle, picture.height, picture.width) for _, mask in found]
    colours = [colour for colour, _ in found]
    drawn = overlay(np.asarray(picture), masks, colours, min(WIDEST_PX, max(picture.width, WIDEST_PX // 2)))
    name = f"frame {place} of {escape(clip.name)}"
    items = "".join(
        f"<li>{_chip(number)}{escape(asked.text)}{_said(asked, place)}</li>" for number, asked in enumerate(sentences)
    )
    return f'<div class="glus-view"><img alt="{name}" src="{_data_address(drawn)}"><ul>{items}</ul></div>'


def draw_timelines(visitor: Visitor) -> str:
    """A bar for each sentence: what its frames hold, the selector's scores as a line, the key frame as a stroke."""
    clip, sentences, shown = visitor.now()
    if clip is None or not sentences:
        return ""
    bars = "".join(_bar(number, asked, len(clip), shown) for number, asked in enumerate(sentences))
    marks = "".join(f"<li>{_sample(mark)}{words}</li>" for mark, words in LEGEND.items())
    lines = "<li>thick stroke: key frame</li><li>line: the selector's score</li>"
    return f'{_PATTERN}{bars}<ul class="glus-key">{marks}{lines}</ul>'


# one for the page: what has no colour has to be told apart in black and white too
_PATTERN = (
    '<svg width="0" height="0" style="position:absolute"><defs><pattern id="glus-silent" width="2" height="8"'
    ' patternUnits="userSpaceOnUse" patternTransform="scale(0.5 1) rotate(45)"><rect width="2" height="8" fill="#fff"/>'
    '<rect width="1" height="8" fill="#222"/></pattern></defs></svg>'
)


def _bar(number: int, asked: AskedSentence, num_frames: int, shown: int) -> str:
    cells = "".join(
        f'<rect class="{mark}" x="{begin}" width="{length}" height="{HEIGHT}" {_fill(mark, number)}/>'
        for mark, begin, length in _runs(asked, num_frames)
    )
    now = (
        f'<rect x="{shown}" width="1" height="{HEIGHT}" fill="none" stroke="#111" vector-effect="non-scaling-stroke"/>'
    )
    key = ""
    if asked.key_frame is not None:
        key = (
            f'<line class="key-frame" x1="{asked.key_frame + 0.5}" x2="{asked.key_frame + 0.5}" y1="0" y2="{HEIGHT}"'
            ' stroke="#111" stroke-width="5" vector-effect="non-scaling-stroke"/>'
        )
    where = "" if asked.key_frame is None else f" · starts at frame {asked.key_frame}"
    return (
        f'<div class="glus-row"><p>{_chip(number)}{escape(asked.text)}{where}</p>'
        f'<svg data-place="{number}" data-frames="{num_frames}" viewBox="0 0 {num_frames} {HEIGHT}"'
        f' preserveAspectRatio="none">{cells}{_curve(asked.scores)}{now}{key}</svg></div>'
    )


def _runs(asked: AskedSentence, num_frames: int) -> Iterator[tuple[str, int, int]]:
    """Marks of consecutive frames that hold the same: mark, first frame, number of frames."""
    begin = 0
    for mark, run in groupby(range(num_frames), key=lambda place: _mark(asked, place)):
        length = len(list(run))
        yield mark, begin, length
        begin += length


def _mark(asked: AskedSentence, place: int) -> str:
    found = asked.found.get(place)
    if found is None:
        return WAITING
    if not found.seg_token_generated:
        return SILENT
    return MASK if found.area_px else BLANK


def _said(asked: AskedSentence, place: int) -> str:
    """What is to be said of a frame beside its mask."""
    mark = _mark(asked, place)
    said = [] if mark == MASK else [LEGEND[mark]]
    if place == asked.key_frame:
        said.append("key frame")
    if asked.scores is not None:
        said.append(f"score {asked.scores[place]:.2f}")
    return f" · {' · '.join(said)}" if said else ""


def _curve(scores: np.ndarray | None) -> str:
    if scores is None:
        return ""
    low, high = float(scores.min()), float(scores.max())
    heights = HEIGHT * (0.9 - 0.8 * (scores - low) / ((high - low) or 1.0))
    points = " ".join(f"{place + 0.5},{height:.2f}" for place, height in enumerate(heights))
    return (
        f'<polyline class="scores" points="{points}" fill="none" stroke="#111" stroke-width="2"'
        ' vector-effect="non-scaling-stroke"/>'
    )


def _fill(mark: str, number: int) -> str:
    colour = f"rgb{colour_of(number)}".replace(" ", "")
    return {
        MASK: f'fill="{colour}" fill-opacity="0.75"',
        BLANK: f'fill="{colour}" fill-opacity="0.2"',
        SILENT: 'fill="url(#glus-silent)"',
        WAITING: 'fill="#bbb" fill-opacity="0.3"',
    }[mark]


def _sample(mark: str) -> str:
    cell = f'<rect width="10" height="{HEIGHT}" {_fill(mark, 0)}/>'
    return f'<svg viewBox="0 0 10 {HEIGHT}" preserveAspectRatio="none">{cell}</svg>'


def _chip(number: int) -> str:
    return f'<span class="glus-chip" style="background:rgb{colour_of(number)}"></span>'


def _data_address(picture: Image.Image) -> str:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
