"""What lies outside of the pipeline: `sources/<step>.json` changes when it does, and only then; `dvc repro` follows."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from local_imports import ROOT

from glus.commands.params import edited
from glus.config import Config, load_config
from glus.errors import InputError
from glus.pipeline.fingerprint import code_hash, fingerprint
from glus.pipeline.sources import path_state, update_sources
from glus.pipeline.table import STEPS

STEP = {step.name: step for step in STEPS}
OWN = ["stage.splits=[synthetic/train, synthetic/test, own/valid]", "stage.roots={own: raw}"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """A project with raw data of its own, and its configuration."""
    monkeypatch.chdir(tmp_path)
    frames = tmp_path / "disk" / "valid" / "JPEGImages" / "dog"
    frames.mkdir(parents=True)
    (frames / "00000.jpg").write_bytes(b"frame 0")
    (tmp_path / "disk" / "valid" / "expressions.csv").write_text("video,expression,objects\ndog,a dog,1\n")
    Path("raw").symlink_to("disk")

    def load(*overrides: str) -> Config:
        Path("params.yaml").write_text(edited(ROOT / "glus" / "presets" / "tiny.yaml", [*OWN, *overrides]))
        return load_config()

    return load


def rewrite_the_list() -> None:
    file = Path("raw/valid/expressions.csv")
    times = file.stat()
    file.write_text(file.read_text().replace("a dog", "a cat"))  # as long as before, and as old
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def another_frame() -> None:
    Path("raw/valid/JPEGImages/dog/00000.jpg").write_bytes(b"frame 1")


def link_to_another_video() -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/00000.jpg").touch()
    Path("raw/valid/JPEGImages/cat").symlink_to(Path("elsewhere").absolute())


@pytest.mark.parametrize("change", [rewrite_the_list, another_frame, link_to_another_video])
def test_new_raw_data_changes_the_state_of_stage_alone(project: Callable, change: Callable[[], None]) -> None:
    config = project()
    assert update_sources(config) == ["stage", "train", "pseudolabel", "selector", "keyframes", "propagate"]
    assert update_sources(config) == []
    change()
    assert update_sources(config) == ["stage"]
    assert update_sources(config) == []


def test_a_frame_behind_a_link_counts(project: Callable) -> None:
    link_to_another_video()
    update_sources(project())
    Path("elsewhere/00001.jpg").touch()
    assert update_sources(project()) == ["stage"]


def test_a_list_that_is_only_copied_is_the_same(project: Callable) -> None:
    update_sources(project())
    Path("raw/valid/expressions.csv").touch()
    assert update_sources(project()) == []


def test_what_is_not_on_this_machine_keeps_its_state(project: Callable) -> None:
    update_sources(project())
    before = Path("sources/stage.json").read_text()
    Path("raw").unlink()
    assert update_sources(project()) == []
    assert Path("sources/stage.json").read_text() == before


def test_a_note_that_a_power_loss_has_emptied_is_written_anew(project: Callable) -> None:
    config = project()
    update_sources(config)
    for file in Path("sources").iterdir():
        before = file.read_bytes()
        file.write_bytes(b"")
        assert update_sources(config) == [file.stem]
        assert file.read_bytes() == before


def test_links_in_a_circle_end(project: Callable) -> None:
    Path("raw/valid/again").symlink_to(Path("raw").resolve())
    state = path_state(Path("raw"))
    assert state is not None and state["files"] == 2


def test_frames_are_looked_at_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that hundreds of gigabytes take seconds: lists alone are read."""
    read: list[Path] = []
    monkeypatch.setattr("glus.pipeline.sources.hash_file", lambda path: read.append(path) or "hash")
    for frame in range(50):
        (tmp_path / f"{frame}.jpg").write_bytes(b"frame")
    (tmp_path / "list.csv").write_text("video,expression\n")
    state = path_state(tmp_path)
    assert state is not None and state["files"] == 51
    assert read == [tmp_path / "list.csv"]


def test_given_weights_are_part_of_what_decides_training(project: Callable) -> None:
    Path("weights").mkdir()
    Path("weights/config.json").write_text("{}")
    config = project("model.base=weights", "keyframes.files={synthetic/test: weights/config.json}")
    first = {name: fingerprint(STEP[name], config, {}) for name in ("train", "keyframes", "propagate")}
    update_sources(config)
    Path("weights/config.json").write_text("{ }")
    assert update_sources(config) == ["train", "keyframes"]
    second = {name: fingerprint(STEP[name], config, {}) for name in first}
    assert [name for name in first if first[name] != second[name]] == ["train", "keyframes"]


@pytest.mark.parametrize("key", ["model.base", "selector.model.base"])
def test_weights_that_are_not_there_are_named_before_anything_runs(project: Callable, key: str) -> None:
    with pytest.raises(InputError, match=rf"{key}: nowhere does not exist"):
        fingerprint(STEP["train" if key == "model.base" else "selector"], project(f"{key}=nowhere"), {})


def test_precision_decides_and_how_wide_the_work_is_does_not(project: Callable) -> None:
    narrow = project("compute.processes=1", "compute.threads=2", "compute.workers=0", "compute.device=cpu")
    for name in ("train", "pseudolabel", "selector", "keyframes", "propagate"):
        found = {fingerprint(STEP[name], config, {}) for config in (project(), narrow)}
        assert len(found | {fingerprint(STEP[name], project("compute.precision=bfloat16"), {})}) == 2


def test_the_code_of_a_step_decides_and_that_of_others_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "glus" / "steps").mkdir(parents=True)
    for name in ("train", "stage"):
        (tmp_path / "glus" / "steps" / f"{name}.py").write_text("1")
    deps = "".join(f"  {name}:\n    deps: [data, glus/steps/{name}.py]\n" for name in ("train", "stage"))
    (tmp_path / "dvc.yaml").write_text(f"stages:\n{deps}")
    monkeypatch.setattr("glus.pipeline.fingerprint.PROJECT", tmp_path)
    before = code_hash("train"), code_hash("stage")
    (tmp_path / "glus" / "steps" / "train.py").write_text("2")
    assert code_hash("train") != before[0]
    assert code_hash("stage") == before[1]
    (tmp_path / "dvc.yaml").unlink()
    assert code_hash("train") == code_hash("stage")  # installed: the version
