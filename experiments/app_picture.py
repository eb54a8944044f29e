"""Makes the picture of `glus app` in docs/app.md: the page in a browser, an example, the trained default models.

Run from the project's root after `make demo`, with gradio, playwright and Debian's chromium:
`.venv/bin/python -m experiments.app_picture`.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from glus import GLUS, KeyFrameSelector
from glus.app.serving import opened_page, require_gradio, require_port
from glus.app.visitor import Service
from glus.paths import FINAL_MODEL, SELECTOR

HOST, EXAMPLE, FRAME = "127.0.0.1", "Grey at first", 7
WIDTH_PX, HEIGHT_PX = 1100, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=FINAL_MODEL)
    parser.add_argument("--selector", type=Path, default=SELECTOR)
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--output", type=Path, default=Path("docs/images/app.png"))
    options = parser.parse_args()
    require_gradio()
    require_port(HOST, options.port)
    model, selector = GLUS.from_pretrained(options.model), KeyFrameSelector.from_pretrained(options.selector)
    service = Service(model, selector, window_stride=1, most_frames=100, most_sentences=2)
    with opened_page(service, HOST, options.port, 1) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": HEIGHT_PX})
        page.goto(address)
        page.locator("#example input").click()
        page.get_by_role("option", name=EXAMPLE).click()
        page.locator("#view img").wait_for()
        page.locator("#segment").click()
        page.get_by_text("Finished:").wait_for()
        page.locator("#scrubber input[type=number]").fill(str(FRAME))
        page.get_by_alt_text(f"frame {FRAME} of").wait_for()
        page.screenshot(path=options.output, full_page=True)
        browser.close()
    print(options.output)


if __name__ == "__main__":
    main()
