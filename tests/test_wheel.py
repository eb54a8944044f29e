"""A wheel of this package carries all that its commands need; no other folder, and no network, is used."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from commands.tiny_sets import ANSWERS, write_masks, write_mevis
from local_imports import ROOT

from glus.model.lora import merged_state_dict
from glus.weights.saved import save_glus

Glus = Callable[..., str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of the sources, unpacked; the copy, where setuptools leaves its traces, is removed."""
    clone, wheels, installed = (tmp_path_factory.mktemp(name) for name in ("clone", "wheels", "installed"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, clone)
    for name in ("glus", "flows"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", wheels, clone], check=True)
    shutil.rmtree(clone)
    [wheel] = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    return installed


@pytest.fixture
def glus(installed: Path, tmp_path: Path) -> Glus:
    """Runs a command of the unpacked wheel in an empty folder; returns what it prints."""
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "glus", *map(str, arguments)],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_wheel_holds_one_package_with_its_data(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"glus"}
    data = {path.relative_to(ROOT) for path in (ROOT / "glus").rglob("*") if path.suffix not in (".py", ".pyc", "")}
    assert Path("glus/presets/glus_s.yaml") in data
    assert {path for path in data if not (installed / path).is_file()} == set()


def test_it_says_what_it_is(glus: Glus) -> None:
    assert "segment" in glus("--help")
    assert glus("--version").startswith("glus 0.")


def test_it_writes_and_reads_parameters(glus: Glus, tmp_path: Path) -> None:
    assert "written from" in glus("params", "--preset", "glus_s", "seed=1")
    assert "seed: 1" in (tmp_path / "params.yaml").read_text()
    assert "is valid" in glus("params")


def test_it_scores(glus: Glus, tmp_path: Path) -> None:
    write_mevis(tmp_path / "mevis")
    write_masks(tmp_path / "masks", ANSWERS)
    out = glus("score", "--dataset", "mevis", "--root", "mevis", "--split", "valid_u", "--predictions", "masks")
    assert "58.3" in out  # J of `ANSWERS`


def test_it_segments(glus: Glus, tmp_path: Path, model, frames) -> None:
    save_glus(model, merged_state_dict(model), tmp_path / "model")
    (tmp_path / "clip").mkdir()
    for number, frame in enumerate(frames[:3]):
        frame.save(tmp_path / "clip" / f"{number:05d}.png")
    glus("segment", "clip", "-e", "the red circle", "--model", "model", "-o", "out", "--format", "png")
    assert len(list((tmp_path / "out").rglob("*.png"))) >= 3


def test_the_model_of_the_default_is_built_from_any_folder(installed: Path, tmp_path: Path) -> None:
    code = "from glus.model.sam2 import load_sam2_config as load; print(load('glus/model/sam2_tiny.yaml')['_target_'])"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("sam2."), done.stderr
