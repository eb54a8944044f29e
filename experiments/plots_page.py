"""The page that `dvc plots show` fills, with its drawing library inside, so that plots need no network.

By itself DVC writes a page that loads vega from a public server. `make setup` runs this: the page lies in the
environment, and DVC's settings of this clone (`.dvc/config.local`) name it.
"""

import subprocess
import sys
from pathlib import Path

import vl_convert

PAGE = Path(sys.prefix) / "dvc_plots.html"
# As DVC's own page, but for the scripts that it names. The library stands in a function: its names meet no others.
TEMPLATE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>DVC plots</title>{refresh_tag}
<script>(function () {%s})();</script></head>
<body>{plot_divs}</body>
</html>
"""
GLOBAL_NAMES = "window.vega = vega; window.vegaLite = vegaLite; window.vegaEmbed = vegaEmbed;"


def write_page(page: Path) -> None:
    """Writes the page, with the versions of vega that vl-convert carries."""
    page.write_text(TEMPLATE % vl_convert.javascript_bundle(GLOBAL_NAMES), encoding="utf-8")


if __name__ == "__main__":
    write_page(PAGE)
    command = [sys.executable, "-m", "dvc", "config", "--local", "plots.html_template", str(PAGE)]
    subprocess.run(command)  # where there is no DVC, it says so
