"""`dvc exp run` in copies of the project: interpreter, MLflow store and untracked data; no environment is active."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from local_imports import ROOT
from patience import SECONDS, comes_true
from ruamel.yaml import YAML

from glus.commands.params import edited
from glus.config import parse_config
from glus.errors import InputError
from glus.pipeline.project import external_paths, link_external, project_root

SMALLEST = [
    "stage.splits=[synthetic/train]",
    "stage.synthetic.clips={train: {plain: 4}}",
    "stage.synthetic.appearance_sentences={train: 1}",
    "stage.synthetic.other_sentences={train: 0}",
    "data.evaluation=[synthetic/train]",
    *(f"train.{phase}.samples=2" for phase in ("image", "tracking", "clip")),
    *(f"train.{phase}.families=[appearance]" for phase in ("image", "tracking", "clip")),
    "compute.workers=0",
]
MARK = "mark-of-a-secret"
PROGRAM = "#!{python}\nimport sys\nfrom dvc.cli import main\nsys.exit(main())\n"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Programs of a virtual environment as `make setup` leaves it, on nobody's PATH."""
    folder = tmp_path / "environment"
    venv.EnvBuilder(symlinks=True).create(folder)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    for name in ("PROGRAMS_FIRST", "NO_TELEMETRY"):
        line = re.search(rf"^{name} := (.+)$", (ROOT / "Makefile").read_text(), re.M)
        assert line is not None
        (packages / f"{name.lower()}.pth").write_text(line[1] + "\n")
    (packages / "installed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    dvc = folder / "bin" / "dvc"
    dvc.write_text(PROGRAM.format(python=folder / "bin" / "python"))
    dvc.chmod(0o755)
    return folder / "bin"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A clone with the smallest parameters."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "glus", folder / "glus", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy2(ROOT / name, folder)
    (folder / "params.yaml").write_text(edited(ROOT / "glus" / "presets" / "tiny.yaml", SMALLEST))
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@test"]
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    subprocess.run([*git, "add", "-A"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-qm", "start"], cwd=folder, check=True)
    yield folder
    for process in at_work_in(folder):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def at_work_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.pid != os.getpid():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def run(project: Path, program: Path, *arguments: str) -> None:
    variables = {
        "HOME": str(project.parent),
        "DVC_SITE_CACHE_DIR": str(project.parent / "cache"),
        "PATH": os.defpath,
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@test",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@test",
        "AWS_SECRET_ACCESS_KEY": MARK,
        "MLFLOW_TRACKING_PASSWORD": MARK,
    }
    done = subprocess.run(
        [str(program), *arguments], cwd=project, env=variables, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr


def recorded(project: Path) -> dict[str, tuple[str, str]]:
    """Status and seed of each run, by name."""
    query = (
        "SELECT name, status, value FROM runs JOIN params ON runs.run_uuid = params.run_uuid"
        " WHERE key = 'stage.synthetic.seed'"
    )
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        return {name: (status, seed) for name, status, seed in database.execute(query)}


def test_two_experiments_at_once_are_two_runs_of_the_project(environment: Path, project: Path) -> None:
    dvc = environment / "dvc"
    run(project, dvc, "exp", "run", "--queue", "--name", "one", "-S", "stage.synthetic.seed=1", "stage")
    run(
        project, dvc, "exp", "run", "--queue", "--name", "two", "stage",
        "-S", "stage.synthetic.seed=2", "-S", "tracking.variant=second",
    )  # fmt: skip
    run(project, dvc, "queue", "start", "-j", "2")
    assert comes_true(lambda: not at_work_in(project)), at_work_in(project)  # the workers end with their queue
    assert recorded(project) == {"one": ("FINISHED", "1"), "second": ("FINISHED", "2")}
    assert not (project / "data").exists()  # both ran in copies, which are gone
    left = [file for file in project.rglob("*") if file.is_file()]
    assert not [file for file in left if MARK.encode() in file.read_bytes()]


@pytest.mark.parametrize(("chosen", "found"), [({}, "true"), ({"DO_NOT_TRACK": "false"}, "false")])
def test_no_program_of_the_environment_sends_figures_of_its_use(
    environment: Path, chosen: dict[str, str], found: str
) -> None:
    command = [environment / "python", "-c", "import os; print(os.environ['DO_NOT_TRACK'])"]
    assert subprocess.run(command, env=chosen, capture_output=True, text=True).stdout == f"{found}\n"


@pytest.mark.parametrize("started_as", [["environment/bin/python"], ["python"], ["/elsewhere/python"]])
def test_a_step_gets_the_interpreter_that_runs_dvc(tmp_path: Path, started_as: list[str]) -> None:
    """The prefix of the commands, with a shell as dvc: it looks at how its parent was started."""
    prefix = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["vars"][0]["environment"]
    for folder in ("environment/bin", "project/.venv/bin"):
        python = tmp_path / folder / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/sh\necho {folder}\n")
        python.chmod(0o755)
    name = started_as[0] if started_as[0].startswith("/") else str(tmp_path / started_as[0])
    code = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"
    done = subprocess.run(
        [name, "-c", code, "/bin/sh", "-c", f"{prefix} exec python -m glus stage"],
        executable=sys.executable,
        env=os.environ | {"DVC_ROOT": str(tmp_path / "project")},
        capture_output=True,
        text=True,
    )
    expected = "environment/bin" if started_as == ["environment/bin/python"] else "project/.venv/bin"
    assert done.stdout.strip() == expected, done.stderr


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a step in an experiment's copy."""
    folder = tmp_path / "project" / ".dvc" / "tmp" / "exps" / "tmp1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    return folder


def test_a_copy_knows_its_project(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert project_root() == tmp_path / "project"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "another"))  # of a pipeline that runs this one as a step
    assert project_root() == copy
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT")
    assert project_root() == tmp_path


def configured(*overrides: str) -> object:
    preset = ROOT / "glus" / "presets" / "tiny.yaml"
    values = YAML(typ="safe").load(edited(preset, ["stage.splits=[synthetic/train, synthetic/test, mevis/valid_u]"]))
    for override in overrides:
        key, _, value = override.partition("=")
        *path, last = key.split(".")
        section = values
        for name in path:
            section = section[name]
        section[last] = YAML(typ="safe").load(value)
    return parse_config(values, preset)


def test_untracked_data_of_the_project_are_found_in_a_copy(copy: Path, tmp_path: Path) -> None:
    for name in ("data/raw/mevis", "weights/LISA", "data/staged"):
        (tmp_path / "project" / name).mkdir(parents=True)
        (tmp_path / "project" / name / "file").write_text(name)
    config = configured("model.base=weights/LISA")
    assert external_paths(config) == {  # type: ignore[arg-type]
        "stage.roots.mevis": Path("data/raw/mevis"),
        "model.base": Path("weights/LISA"),
    }
    link_external(config)  # type: ignore[arg-type]
    link_external(config)  # type: ignore[arg-type]
    assert Path("data/raw/mevis/file").read_text() == "data/raw/mevis"
    assert Path("weights/LISA/file").read_text() == "weights/LISA"
    assert not Path("data/staged").exists()  # an artifact, which DVC brings
    shutil.rmtree(copy)
    assert (tmp_path / "project/weights/LISA/file").is_file()


def test_a_path_above_the_project_is_linked_or_refused(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "sets" / "mevis").mkdir(parents=True)
    link_external(configured("stage.roots={mevis: ../sets/mevis}"))  # type: ignore[arg-type]
    assert Path("../sets/mevis").resolve() == tmp_path / "sets" / "mevis"
    above = os.path.relpath("/", tmp_path / "project")  # further up than the copies are deep
    with pytest.raises(InputError, match=r"stage\.roots\.mevis = \.\./.* too far above the project"):
        link_external(configured(f"stage.roots={{mevis: {above}{tmp_path}/sets}}"))  # type: ignore[arg-type]
