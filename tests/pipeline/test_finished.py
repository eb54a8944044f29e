"""A result that was computed but not recorded is known again, and anything else is not taken for it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from local_imports import ROOT
from stub import stub

from glus.commands.params import edited
from glus.config import Config, load_config
from glus.pipeline.finished import is_finished
from glus.pipeline.runner import find_step, plan_step, run_step

STAGE = find_step("stage")


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """A project where `stage` has just ended, and its configuration with some values replaced."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "glus.steps.stage", stub("finish"))

    def load(*overrides: str) -> Config:
        text = edited(ROOT / "glus" / "presets" / "tiny.yaml", ["tracking.enabled=false", *overrides])
        Path("params.yaml").write_text(text)
        return load_config()

    Path("sources").mkdir()
    Path("sources/stage.json").write_text("{}")
    run_step("stage", load())
    return load


def finished(config: Config) -> bool:
    return is_finished(STAGE, config, plan_step("stage", config).identity)


def test_a_finished_step_is_known_again(configure: Callable) -> None:
    assert finished(configure())
    assert finished(configure("compute.threads=2", "train.clip.steps=9000"))  # which decide nothing of `stage`


def test_other_parameters_or_raw_data_are_another_result(configure: Callable) -> None:
    assert not finished(configure("stage.synthetic.noise=1.5"))
    Path("sources/stage.json").write_text('{"changed": 1}')
    assert not finished(configure())


@pytest.mark.parametrize(
    "harm",
    [
        lambda: Path("data/staged/table").write_text("another"),
        lambda: Path("data/staged/table").unlink(),
        lambda: Path("data/staged/further").write_text("a file that the step did not write"),
        lambda: Path("data/raw/synthetic/manifest.json").unlink(),
        lambda: Path("data/staged/manifest.json").write_text("{}"),
        lambda: Path("runs/stage.json").unlink(),
    ],
)
def test_a_result_that_is_not_whole_is_not_taken(configure: Callable, harm: Callable[[], object]) -> None:
    harm()
    assert not finished(configure())


def test_a_run_that_was_interrupted_is_not_taken(configure: Callable) -> None:
    record = Path("runs/stage.json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"outcome": "interrupted"}))
    assert not finished(configure())
