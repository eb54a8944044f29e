"""Exit codes, one paragraph on stderr, and commands that only look."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from contextlib import chdir, closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from local_imports import ROOT
from patience import SECONDS
from PIL import Image
from setuptools import find_packages
from setuptools.command.editable_wheel import _simple_layout

from glus.cli import main
from glus.commands.segment import FORMATS
from glus.config import load_config
from glus.evaluation.results import SHA256
from glus.files import hash_file
from glus.manifest import write_manifest
from glus.media.pictures import PICTURE_SUFFIXES
from glus.pipeline.table import STEPS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command in a project of its own; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLUS_DEBUG", raising=False)
    shutil.copy2(ROOT / "glus" / "presets" / "tiny.yaml", tmp_path / "params.yaml")

    def start(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return start


def test_help_names_every_command(run: Run) -> None:
    for arguments in ([], ["--help"]):
        code, out, _ = run(*arguments)
        assert code == 0
        commands = {line.split()[0] for line in out.partition("Before a run:")[2].splitlines() if line.strip()}
        assert commands >= {step.name for step in STEPS} | {"segment", "params", "plan", "report", "doctor", "check"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["train", "--epochs", "3"], "No such option: --epochs"),
        (["train", "7"], "unexpected extra argument"),
        (["params", "seed"], "'seed' is not of the form key=value"),
        (["params", "train.clip.stepz=3"], "train.clip.stepz is not a known parameter"),
        (["params", "trian.clip.steps=3"], "trian.clip.steps is not a known parameter ('trian' does not exist)"),
        (["params", "seed.x=3"], "seed.x is not a known parameter"),
        (["params", "seed=zero"], "seed = 'zero'"),
        (["params", "seed=[1"], "seed: '[1' is not a YAML value"),
        (
            ["params", "--preset", "huge"],
            "There is no preset 'huge'; presets: claims, glus_a, glus_s, realclips, smoke, tiny",
        ),
        (["params", "train.early_stop_step=9999999"], "train.early_stop_step: 9999999 is beyond the last step"),
        (["train"], "data/staged/train.json does not exist; run `glus stage`"),
        (["propagate", "--dry-run"], "data/staged/evaluation.json does not exist"),
        (["report"], "metrics/evaluate.json"),
        (["check", "--dataset", "mevis", "--root", "nowhere"], "nowhere"),
        (["check", "--dataset", "cityscapes", "--root", "."], "cityscapes"),
        (["segment", "nowhere.mp4", "-e", "a dog", "--model", "m", "-o", "out"], "nowhere.mp4 does not exist"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_usage_is_one_paragraph_and_code_2(run: Run, arguments: list[str], named: str) -> None:
    before = Path("params.yaml").read_bytes()
    code, out, errors = run(*arguments)
    assert code == 2, errors
    assert named in errors
    assert errors.startswith("glus: ")
    assert len(errors.splitlines()) == 1
    assert out == ""
    assert Path("params.yaml").read_bytes() == before


def test_a_bug_is_one_paragraph_too_and_keeps_its_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("glus.commands.params.edited", broken)
    code, _, errors = run("params", "seed=1")
    assert (code, len(errors.splitlines())) == (1, 1)
    assert "ZeroDivisionError: a bug" in errors
    assert "in broken" in Path(".glus/traceback.txt").read_text()
    assert "Traceback" in run("params", "seed=1", "--debug")[2]


def test_without_parameters_the_way_out_is_named(run: Run) -> None:
    Path("params.yaml").unlink()
    code, _, errors = run("train")
    assert code == 2
    assert "params.yaml does not exist; run from the project's root" in errors


def test_params_are_written_and_keep_their_comments(run: Run) -> None:
    code, out, _ = run("params", "seed=5", "data.evaluation=[synthetic/valid_u]", "stage.roots.mevis=/data/mevis")
    assert code == 0
    assert "params.yaml written" in out
    config = load_config()
    assert (config.seed, config.data.evaluation) == (5, ["synthetic/valid_u"])
    assert config.stage.root("mevis") == Path("/data/mevis")
    assert "seed: 5                       # of training" in Path("params.yaml").read_text()
    run("params", "--preset", "glus_s", "compute.device=cpu")
    assert (load_config().model.base, load_config().compute.device) == ("weights/LISA-7B-v1", "cpu")
    assert [path.name for path in Path().glob("*params*")] == ["params.yaml"]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(run: Run) -> None:
    code, out, _ = run("stage", "--dry-run", "--json")
    assert code == 0
    plan = json.loads(out)
    assert plan["parameters"] == ["stage"]
    assert plan["outputs"] == ["data/staged", "data/raw/synthetic"]
    assert not plan["resumes"]
    assert [path.name for path in Path().iterdir()] == ["params.yaml"]
    assert "It would start from the beginning." in run("stage", "--dry-run")[1]


def test_a_rate_that_is_no_number_is_refused(run: Run) -> None:
    code, _, errors = run("plan", "--samples-per-second", "inf")
    assert (code, "--samples-per-second is inf" in errors) == (2, True)


def test_plan_tells_what_dvc_would_run(run: Run) -> None:
    for name in ("glus", "dvc.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, Path(name))
    code, out, err = run("plan")  # no DVC repository here: what a run needs is told all the same
    assert code == 1
    assert "parameters: " in out
    assert "What would run is not known: `dvc status`" in err
    assert json.loads(run("plan", "--json")[1])["steps"] is None
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], check=True)
    code, out, _ = run("plan", "--json")
    assert code == 0
    rows = json.loads(out)["steps"]
    assert [row["step"] for row in rows] == [step.name for step in STEPS]
    assert {row["state"] for row in rows} == {"changed"}
    assert "data/staged: deleted" in rows[0]["why"]


def test_doctor_names_what_stands_in_the_way(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    findings = json.loads(out)
    assert code == 1
    assert len(findings["problems"]) == 1
    assert "there is no dvc.yaml" in findings["problems"][0]
    assert findings["facts"]["torch"]
    Path("params.yaml").write_text("seed: zero")
    assert any("seed = 'zero'" in problem for problem in json.loads(run("doctor", "--json")[1])["problems"])


class OlderServer(BaseHTTPRequestHandler):
    """Says that it is an older Prefect or MLflow, and has no experiment."""

    def do_GET(self) -> None:
        found = {"/api/admin/version": b'"3.7.0"', "/version": b"3.16.1"}.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(found or b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')

    def log_message(self, *_: object) -> None:
        pass


def test_doctor_compares_the_versions_of_clients_and_servers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy2(ROOT / "glus" / "presets" / "tiny.yaml", "params.yaml")
    with HTTPServer(("127.0.0.1", 0), OlderServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url.replace("//", "//ann:password@"))
        code, out, _ = run("doctor", "--json")
        server.shutdown()
    assert code == 1
    assert "password" not in out
    findings = json.loads(out)
    assert findings["facts"]["prefect server"] == "3.7.0"
    problems = "\n".join(findings["problems"])
    assert f"the Prefect server has version 3.7.0, the installed client {version('prefect')}" in problems
    assert f"The MLflow server {url} has version 3.16.1, the installed client {version('mlflow')}" in problems


def test_doctor_checks_what_the_present_parameters_need(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy2(ROOT / "glus" / "presets" / "glus_s.yaml", "params.yaml")
    Path("weights/LISA-7B-v1").mkdir(parents=True)
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("CREATE TABLE films (title TEXT)")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code, out, _ = run("doctor", "--json")
    findings = json.loads(out)
    problems = "\n".join(findings["problems"])
    assert code == 1
    assert "stage.roots.mevis: data/raw/mevis does not exist" in problems
    assert "model.sam2_weights: weights/sam2_hiera_large.pt does not exist" in problems
    assert "selector.model.base: weights/Chat-UniVi does not exist" in problems
    assert "model.base" not in problems.replace("selector.model.base", "")
    assert "compute.device is cuda, but torch finds no GPU here" in problems
    assert "mlflow.db has the schema none" in problems
    assert findings["facts"]["mlflow store"] == "sqlite:///mlflow.db"
    assert findings["facts"]["mlflow client"] == version("mlflow")


@pytest.mark.parametrize("command", [["sources"], ["plan"], ["train"], ["keyframes", "--dry-run"]])
def test_a_gpu_that_is_not_there_is_named_before_anything_is_done(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """`dvc repro` begins with `glus sources`."""
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("device: auto", "device: cuda"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert err == "glus: compute.device is cuda, but torch finds no GPU here; set it to auto or cpu.\n"
    assert run("stage", "--dry-run")[0] == 0  # needs none
    assert not Path("sources").exists()


def test_report_tells_other_results_and_old_ones(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is not the report's is refused; where what was evaluated has changed since, the results say so."""
    Path("metrics").mkdir()
    results = {"mevis": {"valid": {"protocol": "no ground truth", "num_expressions": 7}}}
    Path("metrics/evaluate.json").write_text(json.dumps(results))
    Path("predictions").mkdir()
    predictions = write_manifest(Path("predictions"), step="propagate", parameters={}, inputs={})
    Path("reports").mkdir()
    inputs = {"predictions": predictions.content_sha256}
    extra = {SHA256: hash_file(Path("metrics/evaluate.json"))}
    write_manifest(Path("reports"), step="evaluate", parameters={}, inputs=inputs, extra=extra)

    code, out, err = run("report")
    assert (code, err) == (0, "") and "7 expressions predicted" in out
    write_manifest(Path("predictions"), step="propagate", parameters={}, inputs={}, extra={"other": True})
    assert run("report")[0] == 0
    assert "metrics/evaluate.json is outdated: predictions changed since it was evaluated." in caplog.text
    Path("metrics/evaluate.json").write_text(json.dumps(results).replace("7", "8"))
    code, out, err = run("report")
    assert (code, out) == (2, "")
    assert err.startswith("glus: metrics/evaluate.json does not hold the results that reports shows: its SHA-256 is")


WAITS_IN_THE_IMPORTS = """
import sys, time

class Waits:
    def find_spec(self, name, *_):
        if name == "glus.cli":
            print("importing", flush=True)
            time.sleep(1200)

sys.meta_path.insert(0, Waits())
"""


def hears_ctrl_c() -> None:
    """In a child: a shell that runs the tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    "start",
    ["import runpy; runpy.run_module('glus', run_name='__main__')", "from glus.__main__ import main; main()"],
    ids=["python -m glus", "glus"],
)
def test_ctrl_c_within_the_first_second_is_one_line_too(start: str) -> None:
    command = [sys.executable, "-c", WAITS_IN_THE_IMPORTS + start, "params"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=-1, stderr=-1, text=True, start_new_session=True, preexec_fn=hears_ctrl_c
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (1, "glus: Interrupted; nothing had begun.\n")
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"] == {"glus": "glus.__main__:main"}


def test_ctrl_c_before_the_command_listens_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glus.cli.app", interrupted)
    assert run("params") == (1, "", "glus: Interrupted. Nothing was written; the same command starts anew.\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["stage"], "What was finished is kept"),
        (["segment", "v", "-e", "e", "--model", "m", "-o", "o"], "What was finished is kept"),
        (["params", "seed=1"], "Nothing was"),
    ],
)
def test_what_ctrl_c_leaves_is_said_as_it_is(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str], said: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glus.pipeline.runner.run_step", interrupted)
    monkeypatch.setattr("glus.segmenting.run.run_jobs", interrupted)
    monkeypatch.setattr("glus.commands.params.edited", interrupted)
    monkeypatch.setattr("glus.execution.processes.die_with_parent", lambda _: None)
    code, _, errors = run(*command)
    assert code == 1
    assert f"Interrupted. {said}" in errors


def test_segment_names_the_formats_that_it_reads() -> None:
    assert all(suffix.removeprefix(".") in FORMATS for suffix in PICTURE_SUFFIXES)
    assert "mp4" in FORMATS


def test_a_folder_of_the_same_name_does_not_hide_an_editable_install() -> None:
    """Setuptools installs by a path then; its other way is asked only after folders that hold no package."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    with chdir(ROOT):
        packages = find_packages(**settings["packages"]["find"])
        assert set(settings["package-dir"]) == {""}
        assert _simple_layout(packages, settings["package-dir"], ROOT)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_hinder_nothing(closed: str) -> None:
    """As some services start their programs; no file gets the number of such a stream, and the messages with it."""
    command = f"exec {sys.executable} -m glus {{}} {closed}"
    assert subprocess.run(["bash", "-c", command.format("--version")], cwd=ROOT).returncode == 0
    done = subprocess.run(["bash", "-c", command.format("params no_such_key=1")], cwd=ROOT, capture_output=True)
    assert done.returncode == 2


def test_check_lists_faults_as_json(run: Run, shared: Path) -> None:
    code, out, _ = run("check", "--dataset", "mevis", "--root", str(shared / "realclips" / "mevis"), "--json")
    assert (code, [fault for fault in json.loads(out) if fault["severity"] == "error"]) == (0, [])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--frames", "2-4"], "--frames 2-4: expected A:B"),
        (["--frames", "9:12"], "--frames 9:12 holds no frame; the video has 4"),
        (["--key-frame", "7"], "--key-frame 7: the frames are 0 to 3"),
        (["--anchor", "7"], "--anchor 7: the frames are 0 to 3"),
        (["--frames", "2:", "--key-frame", "1"], "--key-frame 1: the frames are 2 to 3"),
        (["--every", "2", "--key-frame", "1"], "--key-frame 1: the frames are 0 to 2 in steps of 2"),
        (["--anchor", "1", "--selector", "s"], "--selector and --anchor exclude each other"),
        ([], "model does not exist; a folder with a model is expected"),
    ],
)
def test_segment_refuses_before_it_loads_a_model(run: Run, options: list[str], named: str) -> None:
    Path("frames").mkdir()
    for index in range(4):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(f"frames/{index:05d}.png")
    code, _, errors = run("segment", "frames", "-e", "the red one", "--model", "model", "-o", "out", *options)
    assert code == 2
    assert named in errors
    assert not Path("out").exists()
    Path("out").mkdir()
    Path("out/mine.txt").touch()
    assert "out exists already" in run("segment", "frames", "-e", "x", "--model", "model", "-o", "out")[2]
