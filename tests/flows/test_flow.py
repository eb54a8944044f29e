"""The flow: seven tasks in order on DVC, the pipeline's own end, and what the run's page shows."""

import base64
import fcntl
import inspect
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import pytest
from local_imports import ROOT
from patience import SECONDS, comes_true
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Crashed, Running, State
from prefect.testing.utilities import prefect_test_harness
from pydantic import ValidationError
from ruamel.yaml import YAML

from flows import ablations, pipeline, segment, shard, stages, states, summary
from flows import commands as flow_commands
from flows.commands import Place, ProgressArtifact
from flows.pipeline import Options
from flows.segment import VideoRequest
from flows.workspace import FLOW_LOCK, prepare_smoke, workplace
from glus.commands.segment import segment as segment_command
from glus.execution.progress import show_progress
from glus.pipeline.table import STEPS
from glus.segmenting.requests import Format, Precision

NAMES = [step.name for step in STEPS]
METRICS = {
    "synthetic": {
        "test": {
            **{"J": 70.04, "F": 80.0, "JF": 75.02, "num_expressions": 9},
            "families": {"greyed": {"J": 60.0, "F": 62.0, "JF": 61.0, "num_expressions": 4}},
            "baselines": {"empty": {"JF": 0.0}},
            "comparisons": {"greyed_memory_off": 7.0},
        }
    },
    "mevis": {"valid": {"num_expressions": 3, "protocol": "server"}},
}


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=int(SECONDS)):
        yield


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project as the last step leaves it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "evaluate.json").write_text(json.dumps(METRICS))
    (tmp_path / "reports" / "synthetic").mkdir(parents=True)
    (tmp_path / "reports" / "synthetic" / "strip.png").write_bytes(b"a picture")
    (tmp_path / "runs").mkdir()
    run = {"uri": "sqlite:///mlflow.db", "experiment_id": "1", "run_id": "abc"}
    (tmp_path / "runs" / "evaluate.json").write_text(json.dumps({"mlflow": run}))
    return tmp_path


Commands = list[tuple[list[str], Place]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Notes the commands instead of running them; to questions there is no answer, so everything counts as stale."""
    seen: Commands = []

    def run(place: Place, command: list[str], progress: ProgressArtifact | None = None) -> int:
        seen.append((command, place))
        return 0

    monkeypatch.setattr(Place, "run", run)
    monkeypatch.setattr(Place, "ask", lambda place, command: None)
    return seen


def task_names(client: SyncPrefectClient, flow_run: UUID | None) -> list[str]:
    """Names of a flow run's tasks."""
    return sorted(task.name for task in client.read_task_runs() if task.flow_run_id == flow_run)


def test_seven_tasks_in_order_and_a_page_to_look_at(server: None, project: Path, commands: Commands) -> None:
    state = pipeline.glus(Options(force=True), return_state=True)
    assert state.is_completed()
    targets = [command[command.index("-s") + 1 :] for command, _ in commands]
    assert targets == [["sources", name] for name in NAMES]
    assert all("--wait-for-lock" in command and "--force" in command for command, _ in commands)
    execution = f"prefect:{state.state_details.flow_run_id}"
    assert {(place.folder, place.execution) for _, place in commands} == {(project, execution)}
    with get_client(sync_client=True) as client:
        run = state.state_details.flow_run_id  # the server learns of its tasks from events, some time after its end
        assert comes_true(lambda: task_names(client, run) == sorted(NAMES))
        artifacts = {each.key: each.data for each in client.read_artifacts() if each.flow_run_id == run}
    assert len(json.loads(artifacts["results"])) == 5
    assert base64.b64encode(b"a picture").decode() in artifacts["overlay"]
    assert "http://127.0.0.1:5000/#/experiments/1/runs/abc" in artifacts["mlflow-run"]


def test_a_failed_step_ends_the_flow_as_failed(
    server: None, project: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed = Place.run

    def run(place: Place, command: list[str], progress: ProgressArtifact | None = None) -> int:
        succeed(place, command, progress)
        return 255 if "selector" in command else 0

    monkeypatch.setattr(Place, "run", run)
    state = pipeline.glus(return_state=True)
    assert state.is_failed()
    assert state.message == "Step selector ended with exit code 255; the last lines of its log say why."
    assert [command[-1] for command, _ in commands] == NAMES[: NAMES.index("selector") + 1]


@pytest.mark.parametrize(
    ("stale", "until", "ran"),
    [
        ([], "evaluate", []),
        (["selector", "evaluate"], "evaluate", ["selector", "keyframes", "propagate", "evaluate"]),
        (["selector", "evaluate"], "keyframes", ["selector", "keyframes"]),
        (["evaluate"], "train", []),
    ],
)
def test_only_what_may_be_stale_is_run(
    server: None,
    project: Path,
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    stale: list[str],
    until: Any,
    ran: list[str],
) -> None:
    monkeypatch.setattr(pipeline, "take_snapshot", lambda place: stages.Snapshot(frozenset(stale), shared=False))
    assert pipeline.glus(Options(until=until), return_state=True).is_completed()
    assert [command[-1] for command, _ in commands] == ran


def test_what_was_computed_but_not_recorded_is_recorded(
    server: None, project: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = json.dumps({"finished": True, "identity": "1"})
    monkeypatch.setattr(Place, "ask", lambda place, command: plan if "--dry-run" in command else None)
    assert pipeline.glus(Options(until="stage"), return_state=True).is_completed()
    assert [command[4] for command, _ in commands] == ["commit", "repro"]  # which then finds nothing to do
    assert commands[0][0][-1] == "stage"
    commands.clear()
    assert pipeline.glus(Options(until="stage", force=True), return_state=True).is_completed()
    assert [command[4] for command, _ in commands] == ["repro"]


def test_the_bar_follows_the_lines_of_a_step(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("glus.execution.progress.SECONDS_BETWEEN_LINES", 0.0)
    caplog.set_level("INFO", logger="glus.execution.progress")
    for _ in show_progress(range(4), "train: clips", total=5, done=1, unit="clips"):
        pass
    seen: list[Any] = []
    name = UUID(int=1)
    monkeypatch.setattr(flow_commands, "create_progress_artifact", lambda at, key, description: seen.append(at) or name)
    monkeypatch.setattr(flow_commands, "update_progress_artifact", lambda to, at, description: seen.append((to, at)))
    bar = ProgressArtifact("train")
    for line in ["Running stage 'train':", *caplog.messages, "Updating lock file 'dvc.lock'"]:
        bar.read(line)
    assert seen == [40.0, (name, 60.0), (name, 80.0), (name, 100.0)]


def test_what_a_killed_flow_leaves_is_marked_crashed(server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "SECONDS_TO_ARRIVE", 0)
    with get_client(sync_client=True) as client:

        def add(flow_state: State[Any]) -> tuple[Any, Any]:
            run = client.create_flow_run(pipeline.glus, state=flow_state)
            task = client.create_task_run(pipeline.run_step, flow_run_id=run.id, dynamic_key="0", state=Running())
            return run.id, task.id

        def names(runs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
            return [(client.read_flow_run(run).state.name, client.read_task_run(task).state.name) for run, task in runs]

        running, crashed = add(Running()), add(Crashed())
        states.crash_lost_task_runs()
        assert names([running, crashed]) == [("Running", "Running"), ("Crashed", "Crashed")]
        monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(running[0]))
        sleeper = subprocess.Popen(["sleep", str(2 * SECONDS)])  # stands for a flow that is at work
        try:
            states.crash_lost_flow_runs("gone")
            assert names([running]) == [("Running", "Running")]
        finally:
            sleeper.kill()
            sleeper.wait()
        states.crash_lost_flow_runs("gone")
        assert names([running]) == [("Crashed", "Crashed")]


def test_options_refuse_what_they_do_not_know() -> None:
    assert Options(workspace="smoke").workspace == "smoke"
    for wrong in ({"workspace": "elsewhere"}, {"steps": 3}, {"until": "trian"}):
        with pytest.raises(ValidationError):
            Options.model_validate(wrong)


def test_a_table_is_a_task_for_each_variant_and_seed(
    server: None, project: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [{"variant": name, "seed": seed} for seed in (0, 1) for name in ("glu", "glu-mb")]
    plan = json.dumps({"folder": "table-4", "at_once": 2, "runs": runs})
    monkeypatch.setattr(Place, "ask", lambda place, command: plan if "--json" in command else None)
    assert ablations.ablations(4, (0, 1), "smoke", return_state=True).is_completed()
    asked = sorted(" ".join(command[4:]) for command, _ in commands)
    wanted = [f"table-4 --only {run['variant']} --seeds {run['seed']} --preset smoke" for run in runs]
    assert asked == sorted(wanted)


def test_a_table_that_cannot_be_run_says_why(server: None, project: Path, commands: Commands) -> None:
    state = ablations.ablations("none", return_state=True)
    assert (
        state.is_failed() and state.message == "Table none cannot be run as asked; the last lines of its log say why."
    )
    assert [command[4:] for command, _ in commands] == [["none", "--seeds", "0", "--dry-run"]]


def test_deployments_name_the_flow_its_options_and_a_pool() -> None:
    deployments = YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert [deployment["name"] for deployment in deployments] == [
        "full",
        "smoke",
        "segment",
        "ablations",
        *NAMES,
        "shard",
    ]
    found = {deployment["name"]: deployment for deployment in deployments}
    assert {deployment["work_pool"]["name"] for deployment in deployments} == {"cpu", "gpu", "shards"}
    assert found.pop("segment")["entrypoint"] == "flows/segment.py:segment"
    assert found.pop("ablations")["entrypoint"] == "flows/ablations.py:ablations"
    assert found.pop("shard")["entrypoint"] == "flows/shard.py:shard"
    assert segment.segment.name == shard.shard.name == ablations.ablations.name == "glus"
    for name, deployment in found.items():
        assert deployment["entrypoint"] == "flows/pipeline.py:glus"
        options = Options.model_validate(deployment["parameters"]["options"])
        assert options.workspace == ("smoke" if name == "smoke" else "project")
        assert options.until == (name if name in NAMES else "evaluate")


def test_a_request_says_what_the_command_line_says() -> None:
    request = VideoRequest(
        videos=["-a.mp4", "b"], expressions=["--the dog"], output="out", key_frame=0, formats=["png"]
    )
    assert request.command()[4:] == [
        *("--model=models/glus/final", "--key-frame=0", "--every=1", "--window-stride=1"),
        "--precision=float32",
        *("--output=out", "--expression=--the dog", "--format=png", "--", "-a.mp4", "b"),
    ]


def test_a_request_has_the_options_of_the_command_line() -> None:
    fields, options = VideoRequest.model_fields, dict(inspect.signature(segment_command).parameters)
    del options["anchor"]  # an older name of key_frame
    assert fields.keys() == options.keys()
    for name in ("selector", "key_frame", "frames", "every", "window_stride", "precision", "compiled"):
        assert fields[name].default == options[name].default
    assert get_args(fields["precision"].annotation) == tuple(Precision)
    assert get_args(*get_args(fields["formats"].annotation)) == tuple(Format)


def test_the_table_holds_what_was_scored() -> None:
    rows = list(summary.result_rows(METRICS))
    assert [(row["split"], row["what"], row["J"], row["J&F"]) for row in rows] == [
        ("synthetic/test", "all expressions", 70.0, 75.0),
        ("synthetic/test", "greyed", 60.0, 61.0),
        ("synthetic/test", "baseline: empty", "", 0.0),
        ("synthetic/test", "grey frames: greyed memory off", 7.0, ""),
        ("mevis/valid", "all expressions", "", ""),
    ]


def test_the_picture_is_the_best_answer_with_its_caption(tmp_path: Path) -> None:
    overlays = tmp_path / "synthetic/test/overlays"
    overlays.mkdir(parents=True)
    for name in ("asked.jpg", "example-0.jpg", "example-1.jpg"):
        (overlays / name).touch()
    cards = [
        {"title": title, "sentence": "it", "facts": "J 9", "picture": f"example-{n}.jpg"}
        for n, title in ((0, "best"), (1, "worst"))
    ]
    overlays.with_name("cards.json").write_text(json.dumps({"examples": cards}))
    picture = summary.first_picture(tmp_path)
    assert picture == overlays / "example-0.jpg" and summary.caption_of(picture) == "best: “it” · J 9"
    assert summary.caption_of(tmp_path / "strip.png") == "strip"


def test_one_run_at_a_time_has_a_clone_to_itself(tmp_path: Path) -> None:
    with workplace(tmp_path, "first", smoke=False) as place, (tmp_path / FLOW_LOCK).open("w") as second:
        assert (place.folder, len(place.held)) == (tmp_path, 1)  # and its commands hold the lock too
        with pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_smoke_copy_is_complete_and_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "glus").symlink_to(ROOT / "glus")
    for name in ("dvc.yaml", ".dvcignore"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    left = tmp_path / ".glus" / "smoke" / "models"
    left.mkdir(parents=True)
    folder = prepare_smoke(tmp_path)
    assert not left.exists()
    assert (folder / "params.yaml").read_bytes() == (ROOT / "glus" / "presets" / "smoke.yaml").read_bytes()
    assert (folder / "glus" / "steps" / "train.py").is_file()
    assert (folder / ".dvc").is_dir()
    assert not list(folder.rglob("__pycache__"))
