"""What the page replies to a visitor's click: what it shows next (Gradio)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from glus.app.drawing import draw_timelines, draw_view
from glus.app.examples import Example
from glus.app.exports import export
from glus.app.visitor import Visitor
from glus.app.visitors import Visitors
from glus.errors import GlusError, is_out_of_memory
from glus.files import write_refusal

STOPPED = "Stopped; Segment goes on from here."
SECONDS_TO_READ = 20.0  # of a sentence in the corner of the page

Shown = list[Any]  # view, timelines, scrubber, sentence chooser, status; what else a method names


class Replies:
    """What happens at each event of the page.

    Each method takes the values of its inputs and Gradio's request, which names the tab, and returns new values of its
    outputs, or yields them while it works.
    """

    def __init__(self, visitors: Visitors, examples: dict[str, Example]) -> None:
        self._visitors = visitors
        self.examples = examples

    def take_upload(self, path: str, request: gr.Request) -> Shown:
        """An uploaded video; then sentences, file."""
        visitor = self._visitor(request)
        with _told():
            visitor.open_upload(Path(path))
        return [*_opened(visitor), gr.skip(), gr.File(None, visible=False)]

    def take_example(self, name: str, request: gr.Request) -> Shown:
        """An example and its sentences; then sentences, file."""
        visitor = self._visitor(request)
        with _told():
            visitor.open(self.examples[name].folder, name)
        return [*_opened(visitor), "\n".join(self.examples[name].sentences), gr.File(None, visible=False)]

    def segment(self, typed: str, request: gr.Request) -> Iterator[Shown]:
        """Segments the sentences, one a line."""
        visitor = self._visitor(request)
        with _told():
            visitor.ask(typed.splitlines())
            yield from _segmented(visitor)

    def start_chosen(self, place: int | None, frame: float, request: gr.Request) -> Iterator[Shown]:
        """Has a sentence start at another frame."""
        visitor = self._visitor(request)
        with _told():
            visitor.start_at(-1 if place is None else place, int(frame))
            yield from _segmented(visitor)

    def start_clicked(self, event: gr.EventData, request: gr.Request) -> Iterator[Shown]:
        """The same, at a click on a timeline."""
        yield from self.start_chosen(int(event.place), float(event.frame), request)

    def look_at(self, frame: float, request: gr.Request) -> Shown:
        """Another frame: view, timelines."""
        visitor = self._visitor(request)
        with _told():
            visitor.look_at(int(frame))
            return [draw_view(visitor), draw_timelines(visitor)]

    def stop(self, request: gr.Request) -> str:
        """Stops; status."""
        self._visitor(request).stop()
        return STOPPED

    def export(self, form: str, request: gr.Request) -> gr.File:
        """A file to take along."""
        with _told():
            return gr.File(str(export(self._visitor(request), form)), visible=True)

    def leave(self, request: gr.Request) -> None:
        """The tab was closed."""
        self._visitors.leave(str(request.session_hash))

    def _visitor(self, request: gr.Request) -> Visitor:
        with _told():
            return self._visitors.of(str(request.session_hash))


def _opened(visitor: Visitor) -> Shown:
    clip, _, _ = visitor.now()
    assert clip is not None
    count, (width, height) = len(clip), clip.size
    scrubber = gr.Slider(value=0, maximum=max(1, count - 1))
    said = f"{clip.name}: {count} frame{'s' * (count > 1)} of {width} x {height} pixels."
    return [draw_view(visitor), "", scrubber, gr.Dropdown([], value=None), said]


def _segmented(visitor: Visitor) -> Iterator[Shown]:
    """Segments what is not finished; the page after each frame."""
    choices = [(asked.text, place) for place, asked in enumerate(visitor.now()[1])]
    yield [*_now(visitor), gr.Dropdown(choices, value=0), "Reading the video …"]
    for _ in visitor.segment():
        yield [*_now(visitor), gr.skip(), _progress(visitor)]
    yield [*_now(visitor), gr.skip(), _progress(visitor)]


def _now(visitor: Visitor) -> Shown:
    return [draw_view(visitor), draw_timelines(visitor), visitor.shown]


def _progress(visitor: Visitor) -> str:
    if visitor.is_stopped:  # the last frame may reach the page after the reply to Stop
        return STOPPED
    clip, sentences, _ = visitor.now()
    num_frames = len(clip or ())
    found, wanted = sum(len(asked.found) for asked in sentences), len(sentences) * num_frames
    if found < wanted:
        return f"{found} of {wanted} masks."
    silent = sum(not mask.seg_token_generated for asked in sentences for mask in asked.found.values())
    without = f" In {silent} of them the model gave no answer (no [SEG])." if silent else ""
    return f"Finished: {found} masks.{without}"


@contextmanager
def _told() -> Iterator[None]:
    """Has the page say in a sentence what can be mended.

    Raises:
        gr.Error: instead of our own errors, of a full disk and of too little memory.
    """
    try:
        yield
    except GlusError as fault:
        raise _sentence(str(fault)) from fault
    except (MemoryError, RuntimeError, OSError) as error:
        if refusal := write_refusal(error):
            raise _sentence(f"{refusal.why[0].upper()}{refusal.why[1:]} on the machine that runs this page.") from error
        if is_out_of_memory(error):
            text = "This machine has too little memory for that: ask for fewer sentences, or for a shorter video."
            raise _sentence(text) from error
        raise


def _sentence(text: str) -> gr.Error:
    return gr.Error(text, duration=SECONDS_TO_READ, print_exception=False)
