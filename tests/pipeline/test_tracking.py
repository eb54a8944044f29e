"""Several processes share one MLflow run; kills are seen, now or later; what MLflow refuses is said at no cost."""

import dataclasses
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_imports import ROOT
from patience import SECONDS, comes_true
from ruamel.yaml import YAML

from glus.commands.params import edited
from glus.config import parse_config
from glus.pipeline import tracking
from glus.pipeline.mlflow_store import STORE, examine
from glus.pipeline.run_name import run_name
from glus.pipeline.tracking import RunDescription, Tracker, execution_key, flatten, metric_name, numbers, start_tracking
from glus.pipeline.versions import digest_around, output_digests


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(tracking, "SECONDS_TO_FINISH", SECONDS)  # the machine may be busy with other tests too
    return tmp_path


def describe(execution: str, **parameters: str) -> RunDescription:
    return RunDescription("tests", "default", execution, None, parameters, {"variant": "default"})


def stored_runs() -> list[dict[str, Any]]:
    """What lies in the database, read without MLflow, which takes seconds to start."""
    with closing(sqlite3.connect("mlflow.db")) as database:

        def pairs(what: str, run: str) -> dict[str, Any]:
            return dict(database.execute(f"SELECT key, value FROM {what} WHERE run_uuid = ?", (run,)).fetchall())

        loss = "SELECT value FROM metrics WHERE key = 'train/loss' AND run_uuid = ? ORDER BY step"
        return [
            {
                "status": status,
                "artifacts": artifacts,
                "params": pairs("params", run),
                "metrics": pairs("latest_metrics", run),
                "tags": pairs("tags", run),
                "loss": [value for (value,) in database.execute(loss, (run,))],
            }
            for run, status, artifacts in database.execute("SELECT run_uuid, status, artifact_uri FROM runs").fetchall()
        ]


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
    third.log_metrics({"train/loss": 1.0})
    assert third._uploader is not None
    assert third._uploader.stdout is not None
    assert "run_id" in third._uploader.stdout.readline()  # the run has begun, however busy the machine is
    for pipe in (third._uploader.stdin, third._uploader.stdout):
        assert pipe is not None
        pipe.close()  # what a SIGKILL of the step looks like from the other end
    third._uploader.wait(timeout=SECONDS)

    runs = {run["tags"]["glus.execution"]: run for run in stored_runs()}
    assert runs.keys() == {"one", "two"}
    assert (runs["one"]["status"], runs["two"]["status"]) == ("FAILED", "KILLED")
    assert runs["one"]["params"] == {"seed": "0", "late": "yes"}
    assert runs["one"]["loss"] == [3.0, 2.0, 1.0]
    assert runs["one"]["metrics"]["evaluate/JF percent"] == 88.0
    stored = runs["one"]["artifacts"].removeprefix("mlflow-artifacts:/")  # where MLflow's server looks for them
    assert (project / "mlartifacts" / stored / "reports/strip.png").read_bytes() == b"png"
    assert not (project / "mlruns").exists()


def test_a_resumed_step_goes_on_in_the_run_that_it_began(project: Path) -> None:
    """A restart is another execution; where that has no run of its own yet, the steps after this one join the old."""
    before = start_tracking(describe("killed"))
    before.log_metrics({"train/loss": 3.0}, step=0)
    begun = before.finish("done")
    resumed = start_tracking(replace(describe("again"), resumes="killed"))
    resumed.log_metrics({"train/loss": 2.0}, step=1)
    assert resumed.finish("done") == begun
    later = start_tracking(describe("again"))
    later.log_metrics({"evaluate/jf": 88.0})
    assert later.finish("done") == begun
    [run] = stored_runs()
    assert run["loss"] == [3.0, 2.0] and run["metrics"]["evaluate/jf"] == 88.0


def test_a_step_that_fails_at_once_leaves_no_empty_run(project: Path) -> None:
    assert start_tracking(describe("refused")).finish("failed") is None
    measured = start_tracking(describe("measured"))
    measured.log_metrics({"train/loss": 1.0})
    assert measured.finish("failed") is not None
    assert [run["tags"]["glus.execution"] for run in stored_runs()] == ["measured"]


def test_a_run_whose_processes_are_all_gone_is_ended_by_the_next(project: Path) -> None:
    code = (
        "import os, signal; from glus.pipeline.tracking import RunDescription, start_tracking;"
        "tracker = start_tracking(RunDescription('tests', 'x', 'lost', None, {}, {})); tracker.log_metrics({'a': 1.0});"
        "tracker._uploader.stdout.readline(); tracker._uploader.kill(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert [run["status"] for run in stored_runs()] == ["RUNNING"]
    assert start_tracking(describe("next")).finish("done") is not None
    assert {run["tags"]["glus.execution"]: run["status"] for run in stored_runs()} == {
        "lost": "KILLED",
        "next": "FINISHED",
    }


def test_what_a_killed_uploader_had_not_sent_is_sent_by_the_next_step(project: Path) -> None:
    start_tracking(describe("before")).finish("done")
    picture = project / "strip.png"
    picture.write_bytes(b"as it was")
    database = sqlite3.connect("mlflow.db", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")  # nothing can be sent
    tracker = start_tracking(describe("lost", seed="3"))
    for step in range(3):
        tracker.log_metrics({"train/loss": 3.0 - step}, step=step)
    tracker.log_artifact(picture, "reports")
    uploader = tracker._uploader
    assert uploader is not None
    assert comes_true(lambda: list(project.glob(".glus/unsent/*/1/strip.png")))
    picture.unlink()
    picture.write_bytes(b"as a later step made it")
    uploader.kill()
    uploader.wait()
    database.execute("COMMIT")
    database.close()
    assert [run["tags"]["glus.execution"] for run in stored_runs()] == ["before"]

    assert start_tracking(describe("next")).finish("done") is not None
    runs = {run["tags"]["glus.execution"]: run for run in stored_runs()}
    assert (runs["lost"]["loss"], runs["lost"]["params"]) == ([3.0, 2.0, 1.0], {"seed": "3"})
    assert (runs["lost"]["status"], runs["next"]["status"]) == ("KILLED", "FINISHED")
    assert next(project.glob("mlartifacts/**/strip.png")).read_bytes() == b"as it was"
    assert list((project / ".glus/unsent").iterdir()) == []


def test_datasets_are_named_by_the_hashes_of_dvc(project: Path) -> None:
    (project / "dvc.lock").write_text(
        "stages: {stage: {cmd: x, outs: [{path: data/staged, md5: abc.dir}, {path: data/raw/synthetic}]}, train: {}}"
    )
    digests = output_digests()
    assert digests == {"data/staged": "abc.dir"}
    assert digest_around("data/staged/train.json", digests) == ("data/staged", "abc.dir")
    assert digest_around("models/glus", digests) is None
    dataset = {"name": "data/staged", "digest": "abc.dir", "read_by": "train"}
    description = dataclasses.replace(describe("one"), datasets=(dataset,))
    assert start_tracking(description).finish("done") is not None
    with closing(sqlite3.connect("mlflow.db")) as database:
        assert database.execute("SELECT name, digest FROM datasets").fetchall() == [("data/staged", "abc.dir")]
        assert database.execute("SELECT name, value FROM input_tags").fetchall() == [("mlflow.data.context", "train")]
    (project / "dvc.lock").write_text("stages: {stage: {outs: [{pa")  # half written by another process
    assert output_digests() == {}


def test_a_kill_of_the_group_is_told(project: Path) -> None:
    code = (
        "import time; from glus.pipeline.tracking import RunDescription, start_tracking;"
        "tracker = start_tracking(RunDescription('tests', 'x', 'group', None, {}, {})); tracker.log_metrics({'a': 1});"
        "print(tracker._uploader.stdout.readline(), flush=True); time.sleep(600)"
    )
    step = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert step.stdout is not None
    assert b"run_id" in step.stdout.readline()
    os.killpg(step.pid, signal.SIGKILL)
    step.communicate()
    assert comes_true(lambda: [run["status"] for run in stored_runs()] == ["KILLED"])


def test_a_copied_project_keeps_its_pictures_to_itself(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = project / "old", project / "new"
    old.mkdir()
    monkeypatch.chdir(old)
    (project / "strip.png").write_bytes(b"png")

    def track(execution: str) -> None:
        tracker = start_tracking(describe(execution))
        tracker.log_artifact(project / "strip.png")
        assert tracker.finish("done") is not None

    track("one")
    shutil.copytree(old, new)
    monkeypatch.chdir(new)
    track("two")
    assert len(list(old.rglob("strip.png"))) == 1
    assert len(list(new.rglob("strip.png"))) == 2


def test_a_deleted_experiment_is_named_with_its_remedy(
    project: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    start_tracking(describe("one")).finish("done")
    database = sqlite3.connect("mlflow.db")
    database.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'tests'")
    database.commit()
    assert start_tracking(describe("two")).finish("done") is None
    assert "did not answer in time" not in caplog.text
    errors = capfd.readouterr().err
    assert len(errors.splitlines()) == 1
    assert "The MLflow experiment 'tests' was deleted. Bring it back with" in errors
    assert "experiments restore --experiment-id 1`" in errors
    database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    database.commit()
    assert "a newer MLflow, or another program, has written it" in str(examine(STORE, "tests").problem)


def test_a_locked_database_is_tried_again(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    start_tracking(describe("one")).finish("done")
    database = sqlite3.connect("mlflow.db", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    tracker = start_tracking(describe("two"))
    tracker.log_metrics({"train/loss": 1.0})
    errors: list[str] = []
    assert comes_true(lambda: errors.append(capfd.readouterr().err) or errors[-1])
    assert errors[-1].splitlines() == [
        "MLflow's database sqlite:///mlflow.db is locked by another process. The step goes on, and MLflow is tried"
        " again until it ends."
    ]
    database.execute("COMMIT")
    assert tracker.finish("done") is not None
    assert {run["tags"]["glus.execution"] for run in stored_runs()} == {"one", "two"}


def tables(path: str, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def test_a_database_that_mlflow_cannot_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert examine(STORE, "tests").problem is None  # none yet
    tables(
        "old.db",
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('451aebb31d03')",
    )
    tables("other.db", "CREATE TABLE films (title TEXT)")
    Path("damaged.db").write_text("no database " * 500)
    old = examine("sqlite:///old.db", "tests")
    assert old.schema == "451aebb31d03"
    assert re.search(rf"of an older MLflow; the installed {re.escape(old.client)} needs \w{{12}}", str(old.problem))
    assert f"mlflow db upgrade sqlite:///{tmp_path / 'old.db'}`" in str(old.problem)
    assert "another program, has written it" in str(examine("sqlite:///other.db", "tests").problem)
    assert "damaged.db is damaged (file is not a database)" in str(examine("sqlite:///damaged.db", "tests").problem)
    away = examine("http://127.0.0.1:9", "tests").problem
    assert away is not None
    assert away.startswith("The MLflow server http://127.0.0.1:9 does not answer (")
    assert "make serve" in away


def test_runs_are_told_apart_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(*overrides: str) -> str:
        preset = ROOT / "glus" / "presets" / "tiny.yaml"
        return run_name(parse_config(YAML(typ="safe").load(edited(preset, overrides)), preset))

    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert named() == "tiny"
    assert (
        named("seed=1", "propagate.use_memory=false", "compute.threads=2") == "tiny: seed=1, propagate.use_memory=False"
    )
    assert named("tracking.variant=mine", "seed=1") == "mine"
    monkeypatch.setenv("DVC_EXP_NAME", "sunny-barm")
    assert named("seed=1") == "sunny-barm"
    assert named("tracking.variant=mine") == "mine"


def test_a_server_that_never_answers_is_not_waited_for_and_fails_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking, "SECONDS_TO_FINISH", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        tracker = start_tracking(describe("away"))
        for step in range(2_000):  # more than a pipe holds
            tracker.log_metrics({"train/loss": 1.0, "train/dice": 0.5}, step=step)
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
    with monkeypatch.context() as patch:
        patch.setattr(psutil.Process, "parents", lambda _: [])  # whoever runs the tests may be a dvc
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
