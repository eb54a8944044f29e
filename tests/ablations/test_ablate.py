"""A table from steps that cost nothing: what is shared, Ctrl-C, resuming, what is left, and what MLflow shows."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from ablations.toy_project import computed, write_toy_project
from local_imports import ROOT
from patience import SECONDS, SECONDS_TO_END, comes_true

from experiments.ablations_picture import opened_comparison
from glus.ablations.tables import find_table
from glus.ablations.variants import PARAMETERS, Run, make
from glus.config import load_config
from glus.config.editing import replaced
from glus.files import read_json

VARIANTS = ("glu-mb", "glu-mb-oc", "glu-mb-oc-kfs")
COMMAND = [sys.executable, "-m", "glus", "ablate", "4", *(f"--only={name}" for name in VARIANTS), "--jobs", "3"]


@dataclass(frozen=True)
class Made:
    """The project with a finished table, and what the first, interrupted attempt left."""

    project: Path
    interrupted: subprocess.CompletedProcess[str]
    left_running: list[list[str]]
    computed_before: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    project = write_toy_project(tmp_path_factory.mktemp("ablations") / "project", "tracking.enabled=true")
    ledger = project.with_name("project-ledger")
    (ledger / "wait").touch()
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(ROOT)
    begun = subprocess.Popen(
        COMMAND,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background ignores it
    )
    # glu-mb, and of the two that train alike one
    assert comes_true(lambda: len(list(ledger.glob("waiting *"))) == 2 or begun.poll() is not None)
    assert begun.poll() is None
    begun.send_signal(signal.SIGINT)
    output, _ = begun.communicate(timeout=SECONDS)
    interrupted = subprocess.CompletedProcess(COMMAND, begun.returncode, output)
    comes_true(lambda: not at_work_in(project), SECONDS_TO_END)
    left, before = at_work_in(project), computed(project)
    (ledger / "wait").unlink()
    done = subprocess.run(COMMAND, cwd=project, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return Made(project, interrupted, left, before)


def at_work_in(folder: Path) -> list[list[str]]:
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process.cmdline())
        except (psutil.Error, OSError):
            continue
    return found


def test_ctrl_c_stops_all_and_keeps_what_was_finished(made: Made) -> None:
    assert made.interrupted.returncode == 1
    assert re.search(  # the second, where the machine left it no time to put things in order
        "^glus: Interrupted(. What was finished is kept; the same command resumes from there.|"
        ", and stopped in the middle of a wait. What was finished is kept.)$",
        made.interrupted.stdout,
        re.MULTILINE,
    )
    assert made.left_running == []
    assert made.computed_before == ["stage"]  # one of three, which began together


def test_killed_at_several_moments_nothing_runs_on_and_the_results_are_the_same(made: Made, tmp_path: Path) -> None:
    project = write_toy_project(tmp_path / "project", "tracking.enabled=true")
    ledger, rows = tmp_path / "project-ledger", VARIANTS[:2]
    command = [*COMMAND[:5], *(f"--only={name}" for name in rows), "--jobs", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("MLFLOW_TRACKING_URI", None)

    def killed_once(moment: Callable[[], object]) -> None:
        begun = subprocess.Popen(command, cwd=project, env=environment, stderr=subprocess.DEVNULL)
        assert comes_true(lambda: moment() or begun.poll() is not None) and moment()
        begun.kill()
        begun.wait()
        assert comes_true(lambda: not at_work_in(project), SECONDS_TO_END), at_work_in(project)

    killed_once((project / ".glus/ablations/work").exists)
    (ledger / "wait").touch()
    killed_once(lambda: len(list(ledger.glob("waiting *"))) == 2)
    (ledger / "wait").unlink()
    killed_once(lambda: list(project.glob("ablations/table-4/*/seed-0")))
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in rows:
        found, expected = (folder / "ablations/table-4" / name / "seed-0" for folder in (project, made.project))
        for file in ("params.yaml", "metrics/evaluate.json"):
            assert (found / file).read_bytes() == (expected / file).read_bytes()


def test_variants_share_what_they_do_not_change(made: Made) -> None:
    """The loss decides training, the source of key frames all that comes after it."""
    found = Counter(computed(made.project))
    assert {name: found[name] for name in ("stage", "train", "keyframes", "propagate", "evaluate")} == {
        "stage": 1, "train": 2, "keyframes": 3, "propagate": 3, "evaluate": 3
    }  # fmt: skip


def test_a_variant_leaves_its_metrics_parameters_and_lock(made: Made) -> None:
    for name in VARIANTS:
        result = made.project / "ablations" / "table-4" / name / "seed-0"
        assert read_json(result / "metrics" / "evaluate.json")["synthetic"]["test"]["JF"] >= 0
        assert (result / "metrics" / "train.json").is_file() and (result / "dvc.lock").is_file()
        assert load_config(result / "params.yaml").tracking.variant == f"table-4/{name}/seed-0"
    assert load_config(result / "params.yaml").train.contrastive.weight == 0.1
    assert not [
        path for path in (made.project / ".glus/ablations/work").rglob("*") if path.suffix != ".lock" and path.is_file()
    ]


def test_what_another_table_or_the_project_has_made_is_taken_over(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Table 5's last row is Table 4's."""
    monkeypatch.chdir(made.project)
    before = computed(made.project)
    table = find_table("5")
    make(Run(table, table.chosen(["fine-tuned"])[0], 0, PARAMETERS), made.project)
    assert computed(made.project) == before
    of_table_4, of_table_5 = (
        made.project / "ablations" / name / "seed-0" / "metrics" / "evaluate.json"
        for name in ("table-4/glu-mb-oc-kfs", "table-5/fine-tuned")
    )
    assert of_table_5.read_bytes() == of_table_4.read_bytes()


def test_what_is_not_as_it_was_is_made_again(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same parameters and other code: DVC, not the name of what was made, decides."""
    project = tmp_path / "project"
    shutil.copytree(made.project, project)
    monkeypatch.chdir(project)
    program = project / "glus" / "toy.py"
    program.write_text(f"{program.read_text()}\n# changed\n")
    before = computed(made.project)
    Path("params.yaml").write_text(replaced(Path("params.yaml"), {"tracking.enabled": False}, PARAMETERS))
    table = find_table("4")
    make(Run(table, table.chosen(["glu-mb"])[0], 0, PARAMETERS), project)
    assert Counter(computed(made.project)) - Counter(before) == Counter(
        ["stage", "train", "pseudolabel", "selector", "keyframes", "propagate", "evaluate"]
    )


def test_the_runs_of_a_table_stand_side_by_side_in_mlflow(made: Made) -> None:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{made.project}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("glus").experiment_id], "params.`table` = '4'")
    assert {run.info.run_name for run in runs} == {f"table-4/{name}/seed-0" for name in VARIANTS}
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.tags["variant"] == run.data.params["variant"] in VARIANTS
        assert (run.data.tags["table"], run.data.params["table"], run.data.params["seed"]) == ("4", "4", "0")
        of_run = made.project / "ablations" / run.info.run_name / "metrics" / "evaluate.json"
        assert run.data.metrics["eval/synthetic/test/JF"] == json.loads(of_run.read_text())["synthetic"]["test"]["JF"]


def test_a_browser_shows_variants_and_metric_in_one_comparison(made: Made) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make setup)")
    with opened_comparison(made.project, find_table("4")) as page:
        for name in VARIANTS:
            page.get_by_text(f"table-4/{name}/seed-0", exact=True).first.wait_for()
            page.get_by_text(name, exact=True).first.wait_for()
