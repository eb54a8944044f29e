"""Several processes share one MLflow run; a kill is seen; a server that is away costs nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_imports import ROOT

from glus.pipeline import tracking
from glus.pipeline.tracking import RunDescription, Tracker, execution_key, flatten, metric_name, numbers, start_tracking

LOOK = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient("sqlite:///mlflow.db")
runs = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
print(json.dumps([
    {"status": run.info.status, "params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags,
     "loss": [point.value for point in client.get_metric_history(run.info.run_id, "train/loss")],
     "artifacts": run.info.artifact_uri} for run in runs]))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(tracking, "SECONDS_TO_FINISH", 120.0)  # the machine may be busy with other tests too
    return tmp_path


def describe(execution: str, **parameters: str) -> RunDescription:
    return RunDescription("tests", "default", execution, None, parameters, {"variant": "default"})


def stored_runs() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_steps_of_one_execution_share_a_run_and_a_kill_is_seen(project: Path) -> None:
    picture = project / "strip.png"
    picture.write_bytes(b"png")
    first = start_tracking(describe("one", seed="0"))
    for step in range(3):
        first.log_metrics({"train/loss": 3.0 - step, "train/nan": float("nan")}, step=step)
    first.log_artifact(picture, "reports")
    named = first.finish("done")
    assert named is not None
    assert named["uri"] == "sqlite:///mlflow.db"

    second = start_tracking(describe("one", seed="0", late="yes"))
    second.log_metrics({"evaluate/J&F %": 88.0})
    assert second.finish("failed") == named

    third = start_tracking(describe("two"))
    assert third._uploader is not None
    for pipe in (third._uploader.stdin, third._uploader.stdout):
        assert pipe is not None
        pipe.close()  # what a SIGKILL of the step looks like from the other end
    third._uploader.wait(timeout=60)

    runs = {run["tags"]["glus.execution"]: run for run in stored_runs()}
    assert runs.keys() == {"one", "two"}
    assert (runs["one"]["status"], runs["two"]["status"]) == ("FAILED", "KILLED")
    assert runs["one"]["params"] == {"seed": "0", "late": "yes"}
    assert runs["one"]["loss"] == [3.0, 2.0, 1.0]
    assert runs["one"]["metrics"]["evaluate/JF percent"] == 88.0
    stored = Path(runs["one"]["artifacts"].removeprefix("file://"), "reports/strip.png")
    assert stored.is_relative_to(project / "mlartifacts")
    assert stored.read_bytes() == b"png"
    assert not (project / "mlruns").exists()


def test_a_server_that_is_away_costs_no_time_and_fails_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(tracking, "SECONDS_TO_FINISH", 1.0)
    start = time.monotonic()
    tracker = start_tracking(describe("away"))
    for step in range(2_000):  # more than a pipe holds
        tracker.log_metrics({"train/loss": 1.0, "train/dice": 0.5}, step=step)
    assert time.monotonic() - start < 2.0
    assert tracker.finish("done") is None
    assert "MLflow did not answer in time" in caplog.text


def test_an_uploader_that_ended_fails_nothing(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = start_tracking(describe("gone"))
    assert tracker._uploader is not None
    tracker._uploader.send_signal(signal.SIGKILL)
    tracker._uploader.wait()
    tracker.log_metrics({"train/loss": 1.0})
    assert tracker.finish("done") is None
    assert "no longer tracked" in caplog.text


def test_without_tracking_nothing_is_written(project: Path) -> None:
    tracker = Tracker()
    tracker.log_metrics({"train/loss": 1.0})
    assert tracker.finish("done") is None
    assert list(project.iterdir()) == []


def test_the_execution_is_the_flow_or_the_dvc_above(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLUS_EXECUTION", raising=False)
    assert re.fullmatch(rf".+:{os.getpid()}:\d+\.\d\d", execution_key())
    monkeypatch.setenv("GLUS_EXECUTION", "prefect:123")
    assert execution_key() == "prefect:123"
    monkeypatch.delenv("GLUS_EXECUTION")
    dvc = project / "dvc"
    dvc.write_text(
        "import subprocess, sys\n"
        "for _ in range(2):\n"
        "    code = 'from glus.pipeline.tracking import execution_key; print(execution_key())'\n"
        "    subprocess.run([sys.executable, '-c', code])\n"
    )
    dvc_run = subprocess.run([sys.executable, str(dvc)], capture_output=True, text=True, check=True)
    first, second = dvc_run.stdout.split()
    assert first == second != execution_key()


@given(st.text(min_size=1))
def test_every_name_becomes_one_that_mlflow_takes(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_\-.:/ ]*", metric_name(name))


def test_metrics_files_become_named_numbers() -> None:
    tree = {"synthetic": {"test": {"JF": 88.5, "protocol": "mevis", "families": {"greyed": {"J": 70}}, "ok": True}}}
    assert numbers(tree, "evaluate") == {
        "evaluate/synthetic/test/JF": 88.5,
        "evaluate/synthetic/test/families/greyed/J": 70.0,
    }
    assert flatten({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": [1, 2], "d": None}
