"""`glus replay` on a pipeline of seven steps that only copy files, with the real git and DVC."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_imports import ROOT
from ruamel.yaml import YAML

from glus.errors import GlusError, InputError
from glus.files import hash_file
from glus.pipeline.origin import origin_of
from glus.pipeline.passport import PASSPORT, Passport, complete_passport, read_passport, write_passport
from glus.pipeline.table import STEPS
from glus.pipeline.versions import LOCK, output_digests, recorded_stages
from glus.replay.comparison import compare
from glus.replay.lookup import find_passport
from glus.replay.run import replay
from glus.replay.workspace import COPIES

SCORES = {
    "protocol": "mevis", "protocol_version": 1, "dataset_version": "25 expressions", "JF": 51.5, "num_expressions": 25,
}  # fmt: skip
OUTPUTS = {step.name: f"data/{step.name}" for step in STEPS} | {
    "stage": "data/staged", "selector": "metrics/selector.json", "evaluate": "metrics/evaluate.json",
}  # fmt: skip
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@test")


def pipeline(outside: Path) -> dict[str, object]:
    """Each step copies its input, and says outside of the project that it ran; `fail` there stops the last one."""
    stages: dict[str, object] = {}
    read = "glus/scores.json"
    for step in STEPS:
        made = OUTPUTS[step.name]
        fails = f"test ! -e {outside}/fail && " if step is STEPS[-1] else ""
        command = f"{fails}mkdir -p {Path(made).parent} && cp {read} {made} && echo {step.name} >> {outside}/ran"
        outs = {"metrics": [{made: {"cache": False}}]} if made.startswith("metrics") else {"outs": [made]}
        stages[step.name] = {"cmd": command, "deps": [read], **outs}
        read = made
    return {"stages": stages}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Where the steps say that they ran."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose pipeline has run, with its passport."""
    folder = tmp_path / "project"
    (folder / "glus").mkdir(parents=True)
    (folder / "glus" / "scores.json").write_text(json.dumps({"synthetic": {"test": SCORES}}))
    (folder / "params.yaml").write_text((ROOT / "glus" / "presets" / "smoke.yaml").read_text())
    (folder / ".gitignore").write_text("/runs/\n/data/\n/metrics/\n")
    with (folder / "dvc.yaml").open("w") as file:
        YAML().dump(pipeline(outside), file)
    monkeypatch.chdir(folder)
    for command in (
        ["git", "init", "-q"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        [*GIT, "add", "-A"],
        [*GIT, "commit", "-qm", "start"],
        [sys.executable, "-m", "dvc", "repro", "-q"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    write_passport(folder, folder / PASSPORT)
    return folder


def test_a_replay_computes_every_step_anew_and_finds_all_equal(project: Path, outside: Path) -> None:
    passport = read_passport(project / PASSPORT)
    assert not passport.dirty and passport.seed == 0
    assert passport.protocols == {"synthetic/test": {"protocol": "mevis", "version": 1, "data": "25 expressions"}}
    origin = origin_of(passport, PASSPORT)
    [commit] = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.split()
    staged = output_digests(recorded_stages(project / LOCK))["data/staged"]
    assert (origin.commit, origin.data, origin.seed) == (commit[:12], staged[:12], 0)
    assert origin.lock == hash_file(project / LOCK)[:12] and origin.passport == "runs/passport.json"
    (outside / "ran").unlink()
    replayed = replay(project, passport, "stage")
    assert (outside / "ran").read_text().split() == [step.name for step in STEPS]
    assert (replayed.num_artifacts, replayed.num_values, replayed.results) == (7, 6, ())
    assert not [path for path in (project / COPIES).iterdir() if path.is_dir()]


def test_what_is_before_the_first_step_is_taken_over_and_a_failed_one_is_gone_on_with(
    project: Path, outside: Path
) -> None:
    passport = read_passport(project / PASSPORT)
    (outside / "ran").unlink()
    (outside / "fail").touch()
    with pytest.raises(GlusError, match="ended with exit code"):
        replay(project, passport, "propagate")
    assert (outside / "ran").read_text().split() == ["propagate"]
    (outside / "fail").unlink()
    assert not replay(project, passport, "propagate").results  # metrics/selector.json is in no cache
    assert (outside / "ran").read_text().split() == ["propagate", "evaluate"]


def test_the_command_names_every_number_and_artifact_that_differs(project: Path) -> None:
    values = json.loads((project / PASSPORT).read_text())
    forged = json.dumps({"synthetic": {"test": {**SCORES, "JF": 50.0}}})
    values["metrics"]["metrics/evaluate.json"] = {"sha256": "0" * 64, "text": forged}
    values["lock"]["propagate"]["outs"][0]["md5"] = "1" * 32
    (project / "forged.json").write_text(json.dumps(values))
    command = [sys.executable, "-m", "glus", "replay", "forged.json", "--from", "evaluate", "--json"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.defpath, "HOME": str(project)}
    environment["DVC_SITE_CACHE_DIR"] = os.environ["DVC_SITE_CACHE_DIR"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    found = {item["name"]: item["was"] for item in json.loads(done.stdout)["results"]}
    assert found == {"metrics/evaluate.json: synthetic/test/JF": 50.0, "data/propagate": "1" * 32}


def test_raw_data_that_is_not_as_it_was_is_named_as_a_cause(project: Path) -> None:
    values = json.loads((project / PASSPORT).read_text())
    assert compare(Passport.model_validate(values), project).causes == ()
    values["lock"]["stage"]["deps"].append({"path": "sources/stage.json", "md5": "1" * 32})
    [cause] = compare(Passport.model_validate(values), project).causes
    assert str(cause).startswith("raw data or given files of stage, by size and time: was 1111")


def test_a_commit_that_is_not_here_is_named_and_leaves_nothing(project: Path) -> None:
    values = json.loads((project / PASSPORT).read_text())
    values["code"]["commit"] = "0" * 40
    with pytest.raises(
        InputError, match=r"Commit 000000000000 of the run cannot be checked out: .* made in another clone"
    ):
        replay(project, Passport.model_validate(values), "stage")
    assert not [path for path in (project / COPIES).iterdir() if path.is_dir()]


def test_code_that_no_commit_holds_is_refused(project: Path) -> None:
    (project / "glus" / "new.py").touch()
    write_passport(project, project / PASSPORT)
    passport = read_passport(project / PASSPORT)
    assert passport.code.changed == ["glus/new.py"]
    with pytest.raises(InputError, match=r"differ from commit .* \(glus/new\.py\)"):
        replay(project, passport, "stage")
    assert not (project / COPIES).exists()


def test_a_step_that_dvc_has_still_to_record_is_added_later(project: Path) -> None:
    write_passport(project, project / PASSPORT, unrecorded=["evaluate"])
    assert "evaluate" not in read_passport(project / PASSPORT).lock
    complete_passport(project)
    assert "evaluate" in read_passport(project / PASSPORT).lock
    before = (project / PASSPORT).read_bytes()
    (project / "metrics" / "evaluate.json").write_text("{}")
    complete_passport(project)
    assert (project / PASSPORT).read_bytes() == before


def test_a_passport_is_found_by_file_folder_and_mlflow_run(project: Path) -> None:
    run = "0123456789abcdef" * 2
    kept = project / "mlartifacts" / "1" / run / "artifacts" / PASSPORT.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes((project / PASSPORT).read_bytes())
    names = {find_passport(project, str(name)).digest for name in (PASSPORT, ".", "runs", run)}
    assert len(names) == 1
    with pytest.raises(InputError, match="names no passport"):
        find_passport(project, "f" * 32)
    (project / "torn.json").write_text('{"schema": "glus.passport"}')
    with pytest.raises(InputError, match=r"torn\.json is not a passport: code: Field required"):
        find_passport(project, "torn.json")
