"""The real graph: `dvc.yaml` agrees with the table of steps, deps cover the imports, what changes is what is stale."""

import ast
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import networkx
import pytest
from dvc.repo import Repo
from local_imports import ROOT, reachable
from ruamel.yaml import YAML

from glus.commands.params import edited
from glus.config import load_config
from glus.config.paths import OUTPUTS
from glus.pipeline.artifacts import resolve
from glus.pipeline.sources import update_sources
from glus.pipeline.table import STEPS, Step

STAGES: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
NAMES = [step.name for step in STEPS]
steps = pytest.mark.parametrize("step", STEPS, ids=NAMES)


def paths(entries: list[Any]) -> list[str]:
    """Paths of outputs, with or without options."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def test_stages_are_the_steps_in_order_after_the_state_of_what_they_are_given() -> None:
    assert list(STAGES) == ["sources", *NAMES]
    given = [f"sources/{step.name}.json" for step in STEPS if step.has_state]
    assert paths(STAGES["sources"]["outs"]) == given
    assert STAGES["sources"]["always_changed"]


def test_what_steps_are_given_is_apart_from_what_they_write() -> None:
    written = {Path(path) for step in STEPS for path in step.outputs}
    assert {path if path in OUTPUTS else path.parent for path in written} == set(OUTPUTS)


@steps
def test_a_stage_is_what_its_step_says(step: Step) -> None:
    stage = STAGES[step.name]
    outputs = [path for kind in ("outs", "metrics", "plots") for path in paths(stage.get(kind, []))]
    code = [path for path in stage["deps"] if path.startswith("glus/")]
    assert stage["cmd"].endswith(f"python -m glus {step.name}")
    assert tuple(stage["params"]) == step.parameters
    assert sorted(outputs) == sorted(step.outputs)
    given = [f"sources/{step.name}.json"] if step.has_state else []
    assert sorted(set(stage["deps"]) - set(code)) == sorted([*step.inputs, *given])


@steps
def test_every_module_that_a_step_imports_lies_under_its_deps(step: Step) -> None:
    deps = STAGES[step.name]["deps"]
    imported = reachable(Path("glus/steps") / f"{step.name}.py")
    assert len(imported) > 5
    uncovered = {file for file in imported if not any(file.is_relative_to(dep) for dep in deps)}
    assert not uncovered, f"add to the deps of {step.name}: {sorted(map(str, uncovered))}"


@steps
def test_deps_on_code_exist_and_are_imported(step: Step) -> None:
    imported = reachable(Path("glus/steps") / f"{step.name}.py")
    for dep in STAGES[step.name]["deps"]:
        if dep.startswith("glus/"):
            assert (ROOT / dep).exists()
            assert any(file.is_relative_to(dep) for file in imported), f"{step.name} imports nothing of {dep}"


def test_paths_of_artifacts_stand_in_one_file() -> None:
    places = tuple(f"{path.split('/')[0]}/" for step in STEPS for path in step.outputs)
    files = [path for folder in ("glus", "flows") for path in (ROOT / folder).rglob("*.py") if path.name != "paths.py"]
    found = {
        (path.relative_to(ROOT).as_posix(), node.value)
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and str(node.value).startswith(places) and " " not in str(node.value)
    }
    assert not found, "take them from glus/paths.py"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project whose steps have all run, as far as DVC can tell."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "glus", folder / "glus", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "dvc.yaml", folder)
    shutil.copy2(ROOT / "glus" / "presets" / "tiny.yaml", folder / "params.yaml")
    config = load_config(folder / "params.yaml")
    for step in STEPS:
        for path in resolve((*step.inputs, *step.outputs), config):
            _stand_in(folder / path)
    with chdir(folder):
        update_sources(config)
        Repo.init(no_scm=True).close()
        with Repo() as repo:
            repo.commit(force=True)
        yield folder


def _stand_in(path: Path) -> None:
    if not path.suffix:
        path = path / "content"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.parent.name)


def status() -> dict[str, Any]:
    with Repo() as repo:
        return {entry.rpartition(":")[2]: changes for entry, changes in repo.status().items() if entry != "sources"}


def stale_with(finished: Path, overrides: list[str]) -> tuple[set[str], set[str]]:
    """The stages that a change of parameters touches, and all that would run after it."""
    params = finished / "params.yaml"
    before = params.read_text()
    params.write_text(edited(params, overrides))
    try:
        update_sources(load_config(params))
        touched = set(status())
        with Repo() as repo:
            graph = repo.index.graph  # an edge leads from a stage to what it depends on
            after = {
                stage.name for stage in graph if {found.name for found in networkx.descendants(graph, stage)} & touched
            }
    finally:
        params.write_text(before)
        update_sources(load_config(params))
    return touched, touched | after


def test_nothing_is_stale_and_nothing_runs_after_a_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status() == {}
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    with Repo() as repo:
        assert [stage.name for stage in repo.reproduce()] == ["sources"]
    assert status() == {}


FROM_TRAIN = set(NAMES) - {"stage"}


@pytest.mark.parametrize(
    ("overrides", "touched", "stale"),
    [
        (["stage.synthetic.noise=9.0"], {"stage"}, set(NAMES)),
        (["train.loss.dice=0.25"], {"train"}, FROM_TRAIN),
        (["model.seg_layer=penultimate"], {"train"}, FROM_TRAIN),
        (["seed=1"], {"train", "pseudolabel", "selector", "keyframes"}, FROM_TRAIN),
        (["pseudolabel.share=0.25"], {"pseudolabel", "keyframes"}, FROM_TRAIN - {"train"}),
        (["selector.steps=150"], {"selector"}, {"selector", "keyframes", "propagate", "evaluate"}),
        (["keyframes.source=first_frame"], {"pseudolabel", "selector", "keyframes"}, FROM_TRAIN - {"train"}),
        (["keyframes.comparisons=[]"], {"keyframes"}, {"keyframes", "propagate", "evaluate"}),
        (["propagate.memory_stride=2"], {"propagate"}, {"propagate", "evaluate"}),
        (["evaluate.seed=1"], {"evaluate"}, {"evaluate"}),
        (["data.train=[{split: synthetic/train, weight: 2.0}]"], {"train", "selector"}, FROM_TRAIN),
        (["tracking.variant=other"], set(), set()),
        (["compute.threads=2", "compute.device=cpu"], set(), set()),
        (["compute.precision=bfloat16"], FROM_TRAIN - {"evaluate"}, FROM_TRAIN),
        (
            ["data.evaluation=[synthetic/valid_u]"],
            {"stage", "keyframes", "propagate", "evaluate"},
            set(NAMES),  # `stage` decides: its train.json comes out equal, and the chain to `train` stops there
        ),
    ],
    ids=lambda value: value[0].split("=")[0] if isinstance(value, list) else "",
)
def test_a_parameter_makes_its_step_and_what_follows_stale(
    finished: Path, overrides: list[str], touched: set[str], stale: set[str]
) -> None:
    assert stale_with(finished, overrides) == (touched, stale)


def test_code_of_one_step_touches_that_step_alone(finished: Path) -> None:
    file = finished / "glus" / "steps" / "keyframes.py"
    before = file.read_text()
    file.write_text(before + "\n# another word\n")
    try:
        assert set(status()) == {"keyframes"}
    finally:
        file.write_text(before)


def test_an_added_evaluation_set_does_not_touch_the_training(finished: Path) -> None:
    """What `stage` writes for evaluation changes, what it writes for training does not."""
    listed = finished / "data" / "staged" / "evaluation.json"
    before = listed.read_text()
    listed.write_text("another set")
    try:
        assert set(status()) - {"stage"} == {"keyframes", "propagate", "evaluate"}
    finally:
        listed.write_text(before)
