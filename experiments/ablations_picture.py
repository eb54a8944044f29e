"""Makes the picture of docs/ablations.md: the rows of a finished table compared in MLflow, as a browser shows them.

Run from a project's root after `glus ablate 4`: `.venv/bin/python -m experiments.ablations_picture 4`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from experiments.ports import free_port
from glus.ablations.tables import find_table
from glus.execution.ties import tied

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from glus.ablations.tables import Table

SECONDS = 600  # of a busy machine
METRIC = "eval/synthetic/test/JF"
BESIDE_PX, COLUMN_PX = 800, 200  # what MLflow has on both sides; each run, and the names of rows
HEIGHT_PX = 1900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="4, C, ...")
    parser.add_argument("--output", type=Path, default=Path("docs/images/ablations.png"))
    options = parser.parse_args()
    with opened_comparison(Path.cwd(), find_table(options.table)) as page:
        page.locator("table", has_text="Run Name:").wait_for()
        fold_to_what_differs(page)
        picture_of_tables(page).save(options.output)
    print(options.output)


def fold_to_what_differs(page: Page) -> None:
    """Leaves the names of the runs, the parameters that differ, and the metrics around J&F."""
    page.get_by_text("Visualizations", exact=True).click()
    for part in ("Parameters", "Metrics"):
        page.get_by_label(f"{part} - Show diff only").click()
    page.get_by_text(METRIC, exact=True).last.scroll_into_view_if_needed()


def picture_of_tables(page: Page) -> Image.Image:
    """The page down to where artifacts could be chosen."""
    view, artifacts = page.locator(".CompareRunView"), page.get_by_text("Artifacts", exact=True).last
    picture = Image.open(io.BytesIO(view.screenshot()))
    height = artifacts.evaluate("end => end.getBoundingClientRect().top") - view.evaluate(
        "top => top.getBoundingClientRect().top"
    )
    return picture.crop((0, 0, picture.width, round(height)))


@contextmanager
def opened_comparison(project: Path, table: Table) -> Iterator[Page]:
    """A browser's page in which MLflow compares all runs of a table, wide enough for its rows."""
    from playwright.sync_api import sync_playwright

    with mlflow_server(project) as uri, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        width = BESIDE_PX + COLUMN_PX * (1 + len(table.variants))
        page = browser.new_page(viewport={"width": width, "height": HEIGHT_PX})
        page.set_default_timeout(1000 * SECONDS)
        page.goto(comparison_address(uri, table))
        page.get_by_text(METRIC, exact=True).first.wait_for()
        yield page
        browser.close()


def comparison_address(uri: str, table: Table) -> str:
    """The page that compares the runs of a table, in its order."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = list(client.search_runs(experiments, f"params.`table` = '{table.number}'", order_by=["params.`seed`"]))
    order = [variant.name for variant in table.variants]
    runs.sort(key=lambda run: order.index(run.data.params["variant"]))
    lists = {
        "runs": json.dumps([run.info.run_id for run in runs]),
        "experiments": json.dumps(sorted({run.info.experiment_id for run in runs})),
    }
    return f"{uri}/#/compare-runs?{urllib.parse.urlencode(lists, quote_via=urllib.parse.quote)}"


@contextmanager
def mlflow_server(project: Path) -> Iterator[str]:
    """A server of the project's runs on a free port, for as long as it is needed; its address."""
    port = free_port()
    uri, program = f"http://127.0.0.1:{port}", [sys.executable, "-m", "mlflow", "server"]
    store = ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./mlartifacts"]
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "true"}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [*program, *store, *address], cwd=project, env=environment, stdout=log, stderr=log, preexec_fn=tied()
        )
        try:
            deadline = time.monotonic() + SECONDS
            while not _answers(f"{uri}/health"):
                assert server.poll() is None and time.monotonic() < deadline, "MLflow's server does not start"
                time.sleep(0.5)
            yield uri
        finally:
            server.terminate()
            server.wait()


def _answers(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(address, timeout=5):
        return True
    return False


if __name__ == "__main__":
    main()
