"""What all our pages share: one style, one palette, everything in one file (`templates/base.html`)."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from glus.reporting.palette import css_variables
from glus.reporting.pictures import data_uri

TEMPLATES = Path(__file__).parent / "templates"


def page_environment(folder: Path = TEMPLATES) -> Environment:
    """An environment for the templates of a folder, which may extend `base.html` and take macros from `parts.html`.

    Values are escaped in `.html` alone. The filters `jpeg` and `webp` (files) and `svg` (a text) make addresses that
    hold a picture.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["jpeg"] = lambda file: data_uri(file.read_bytes())
    environment.filters["webp"] = lambda file: data_uri(file.read_bytes(), "image/webp")
    environment.filters["svg"] = lambda text: data_uri(text.encode(), "image/svg+xml")
    environment.globals["palette"] = Markup(css_variables())
    return environment
