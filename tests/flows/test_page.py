"""A finished run, from steps that cost nothing: all recorded, nothing secret written down, and all there to be seen."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from local_imports import ROOT
from patience import SECONDS, comes_true
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import TaskRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML

from experiments.light_project import computed, write_light_project
from experiments.many_agents import prefect_server, run_agents
from glus.pipeline.table import STEPS

NAMES = [step.name for step in STEPS]
MARK = "mark-of-a-secret"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": MARK,
    "MLFLOW_TRACKING_PASSWORD": MARK,
    "PREFECT_API_AUTH_STRING": f"ann:{MARK}",
    "MLFLOW_TRACKING_URI": f"http://ann:{MARK}@127.0.0.1:9",
}


@dataclass(frozen=True)
class Finished:
    """The run, and the folder that holds its project, the ledger, and the server's home and log."""

    id: str
    folder: Path

    @property
    def project(self) -> Path:
        return self.folder / "project"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("light")
    project = write_light_project(folder / "project", folder / "ledger")
    for name in ("sources", "stage"):  # as if a dvc had been killed between the step's end and recording it
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", "glus", name], cwd=project, env=environment, check=True)
    with pytest.MonkeyPatch.context() as patch, prefect_server(folder / "server") as server:
        patch.setenv("PYTHONPATH", str(ROOT))
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        log = folder / "log"
        assert run_agents([project], server, log) == [0], log.read_text()  # which has told the server all at its end
        with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
            [run] = client.read_flow_runs()
            assert comes_true(lambda: sum(map(is_completed, client.read_task_runs())) == len(NAMES))
            yield Finished(str(run.id), folder)


def is_completed(run: TaskRun) -> bool:
    return run.state is not None and run.state.is_completed()


def test_each_step_was_computed_once_and_is_recorded(finished: Finished) -> None:
    assert computed(finished.folder / "ledger") == [f"{name} 0" for name in NAMES]
    recorded = YAML(typ="safe").load((finished.project / "dvc.lock").read_text())["stages"]
    assert recorded.keys() == {"sources", *NAMES}
    status = [sys.executable, "-m", "dvc", "status", "--json"]
    found = subprocess.run(status, cwd=finished.project, capture_output=True, text=True, check=True).stdout
    assert json.loads(found) == {"sources": ["always changed"]}


def test_no_secret_of_the_environment_is_written_down(finished: Finished) -> None:
    with get_client(sync_client=True) as client:
        logs = "\n".join(log.message for log in client.read_logs())
    assert "Running stage 'train'" in logs
    files = [file for file in finished.folder.rglob("*") if file.is_file()]
    assert finished.folder / "server" / "prefect.db" in files
    assert not [file for file in files if MARK.encode() in content(file)]
    assert MARK not in logs


def content(file: Path) -> bytes:
    """What is in a file; the server's database removes some of its own."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def test_the_page_of_the_run_shows_tasks_table_picture_and_link(finished: Finished) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")
    url = str(PREFECT_API_URL.value()).removesuffix("/api")
    with playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = window.new_page()
        page.set_default_timeout(1000 * SECONDS)
        page.goto(f"{url}/runs/flow-run/{finished.id}")
        page.get_by_text("7 Task runs").wait_for()
        page.locator("#task-runs").click()
        for name in NAMES:
            page.get_by_role("link", name=name, exact=True).first.wait_for()
        page.locator("#artifacts").click()
        page.get_by_text("results").first.wait_for()
        with get_client(sync_client=True) as client:
            artifacts = {artifact.key: artifact.id for artifact in client.read_artifacts()}
        assert {f"progress-{name}" for name in NAMES[1:]} <= artifacts.keys()  # `stage` was only recorded
        page.goto(f"{url}/artifacts/artifact/{artifacts['results']}")
        page.get_by_text("all expressions").wait_for()
        page.goto(f"{url}/artifacts/artifact/{artifacts['overlay']}")
        picture = page.locator("img[src^='data:image/png']")
        picture.wait_for()
        assert picture.evaluate("image => image.naturalWidth") == 8
        page.goto(f"{url}/artifacts/artifact/{artifacts['mlflow-run']}")
        page.locator("a[href*='/#/experiments/1/runs/abc']").wait_for()
        window.close()
