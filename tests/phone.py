"""A page as a phone shows it, without a network."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from patience import SECONDS

WIDTH_PX = 390


@contextmanager
def on_a_phone(page: Path) -> Iterator[Any]:
    """The page in a narrow browser; it has to fit, to show its pictures, and to ask for nothing else."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        shown = window.new_context(offline=True, viewport={"width": WIDTH_PX, "height": 800}).new_page()
        shown.set_default_timeout(1000 * SECONDS)
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(page.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") == WIDTH_PX
        assert shown.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)")
        yield shown
        window.close()
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
