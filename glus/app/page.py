"""The page: what stands where, and which reply belongs to which event (Gradio)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from glus.app.drawing import CLICKED, NO_VIDEO
from glus.app.exports import FILM, FORMS
from glus.app.replies import Replies

HINT = "the dog that jumps\nthe child"
INTRODUCTION = (
    "# GLUS\nChoose a video and say what to segment in it. Everything stays on the machine that runs this page."
)
AT_TIMELINES = "Click a timeline to have its sentence start at that frame, both ways."


@dataclass(frozen=True)
class _Asking:
    """The left column: what is asked."""

    upload: gr.UploadButton
    example: gr.Dropdown
    sentences: gr.Textbox
    segment: gr.Button
    stop: gr.Button
    status: gr.Markdown
    form: gr.Dropdown
    export: gr.Button
    file: gr.File


@dataclass(frozen=True)
class _Seeing:
    """The right column: what is found."""

    view: gr.HTML
    scrubber: gr.Slider
    timelines: gr.HTML
    chooser: gr.Dropdown
    start: gr.Button


def build_page(replies: Replies) -> gr.Blocks:
    """The page with all its events; every tab is a visitor of its own."""
    with gr.Blocks(title="GLUS", analytics_enabled=False) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                asking = _lay_out_asking(list(replies.examples))
            with gr.Column(scale=5, min_width=320):
                seeing = _lay_out_seeing()
        _connect(replies, asking, seeing)
        page.unload(replies.leave)
    return page


def _lay_out_asking(examples: list[str]) -> _Asking:
    upload = gr.UploadButton("Upload a video", elem_id="upload")
    example = gr.Dropdown(examples, value=None, label="or choose an example", elem_id="example")
    sentences = gr.Textbox(label="Sentences, one a line", lines=3, max_lines=12, placeholder=HINT, elem_id="sentences")
    with gr.Row():
        segment = gr.Button("Segment", variant="primary", elem_id="segment")
        stop = gr.Button("Stop", elem_id="stop")
    status = gr.Markdown(elem_id="status")
    form = gr.Dropdown([(words, name) for name, words in FORMS.items()], value=FILM, label="Take along", elem_id="form")
    export = gr.Button("Export", elem_id="export")
    file = gr.File(label="Exported", interactive=False, visible=False, elem_id="file")
    return _Asking(upload, example, sentences, segment, stop, status, form, export, file)


def _lay_out_seeing() -> _Seeing:
    view = gr.HTML(NO_VIDEO, elem_id="view")
    scrubber = gr.Slider(0, 1, 0, step=1, label="Frame", elem_id="scrubber", interactive=True)
    timelines = gr.HTML("", elem_id="timelines", js_on_load=CLICKED)
    with gr.Row():
        chooser = gr.Dropdown([], label="Sentence", elem_id="chooser")
        start = gr.Button("Start it at the frame above", elem_id="start")
    gr.Markdown(AT_TIMELINES)
    return _Seeing(view, scrubber, timelines, chooser, start)


def _connect(replies: Replies, asking: _Asking, seeing: _Seeing) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    again: dict[str, Any] = {"trigger_mode": "multiple", **quiet}  # a later click goes on in place of an earlier one
    shown = [seeing.view, seeing.timelines, seeing.scrubber, seeing.chooser, asking.status]
    opened = [*shown, asking.sentences, asking.file]
    asking.upload.upload(replies.take_upload, asking.upload, opened, **quiet)
    asking.example.input(replies.take_example, asking.example, opened, **quiet)
    running: list[dict[str, Any]] = [
        asking.segment.click(replies.segment, asking.sentences, shown, **again),
        seeing.timelines.click(replies.start_clicked, None, shown, **again),
        seeing.start.click(replies.start_chosen, [seeing.chooser, seeing.scrubber], shown, **again),
    ]
    asking.stop.click(replies.stop, None, asking.status, cancels=running, queue=False, **quiet)
    seeing.scrubber.input(
        replies.look_at, seeing.scrubber, [seeing.view, seeing.timelines], trigger_mode="always_last", **quiet
    )
    asking.export.click(replies.export, asking.form, asking.file, api_visibility="private")
