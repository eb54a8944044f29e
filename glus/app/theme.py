"""The look of the page: the colours of our reports, by day; gradio's own by night. Fonts of the system alone."""

from __future__ import annotations

import gradio as gr

from glus.reporting.palette import FAINT, GROUND, INK, LINE, PAPER, hex_colour


def theme() -> gr.themes.Base:
    """Gradio's default in our colours."""
    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]).set(
        body_background_fill=hex_colour(GROUND),
        body_text_color=hex_colour(INK),
        body_text_color_subdued=hex_colour(FAINT),
        block_background_fill=hex_colour(PAPER),
        block_border_color=hex_colour(LINE),
        button_primary_background_fill=hex_colour(INK),
        button_primary_background_fill_hover=hex_colour(FAINT),
        button_primary_text_color=hex_colour(PAPER),
        button_primary_border_color=hex_colour(INK),
    )
