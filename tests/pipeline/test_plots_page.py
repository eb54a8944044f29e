"""`dvc plots show` on a machine without a network: what it shows, and that it asks for nothing."""

import shutil
from pathlib import Path

import pytest
from dvc_render.html import render_html
from dvc_render.vega import VegaRenderer
from patience import SECONDS


def test_plots_are_drawn_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (make setup)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    from experiments.plots_page import write_page

    write_page(tmp_path / "template.html")
    rows = [{"rev": "workspace", "step": number, "loss": 1 / (1 + number)} for number in range(5)]
    plots = [
        VegaRenderer(rows, "training", x="step", y="loss"),
        VegaRenderer(rows, "families", x="loss", y="step", template="bar_horizontal"),
    ]
    shown = Path(render_html(plots, tmp_path / "index.html", str(tmp_path / "template.html")))
    with playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = window.new_context(offline=True).new_page()
        page.set_default_timeout(1000 * SECONDS)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(shown.as_uri())
        page.wait_for_function("document.querySelectorAll('canvas, svg.marks').length == 2")
        window.close()
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [shown.as_uri()]
