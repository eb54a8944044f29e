"""Makes the picture of docs/ablations.md: the rows of a finished table compared in MLflow, as a browser shows them.

Run from a project's root after `glus ablate 4`: `.venv/bin/python -m experiments.ablations_picture 4`.
"""

from __future__ import annotations

import argparse
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

from experiments.ports import free_port
from glus.ablations.tables import find_table
from glus.execution.ties import tied

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Page, ViewportSize

SECONDS = 600  # of a busy machine
SIZE: ViewportSize = {"width": 1500, "height": 950}
SHOWN: FloatRect = {
    "x": 198,
    "y": 8,
    "width": 911,
    "height": 934,
}  # the comparison, without what MLflow has on both sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="4, C, ...")
    parser.add_argument("--output", type=Path, default=Path("docs/images/ablations.png"))
    options = parser.parse_args()
    with opened_comparison(Path.cwd(), find_table(options.table).number) as page:
        page.screenshot(path=options.output, clip=SHOWN)
    print(options.output)


@contextmanager
def opened_comparison(project: Path, number: str) -> Iterator[Page]:
    """A browser's page in which MLflow compares all runs of a table, parameters and metrics unfolded."""
    from playwright.sync_api import sync_playwright

    with mlflow_server(project) as uri, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(1000 * SECONDS)
        page.goto(comparison_address(uri, number))
        page.get_by_text("eval/synthetic/test/JF", exact=True).first.wait_for()
        yield page
        browser.close()


def comparison_address(uri: str, number: str) -> str:
    """The page that compares the runs of a table."""
    import mlflow

    client = mlflow.MlflowClient(uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments, f"params.`table` = '{number}'", order_by=["params.`variant`"])
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
