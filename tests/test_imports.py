"""The rooms import downwards only, and what must be light imports nothing heavy; read from the sources."""

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from local_imports import ROOT, direct, imported_names, reachable

# from the bottom up: a file imports from its own room and from those before it
ROOMS = (
    "errors", "paths", "files", "publishing", "masks", "media", "config", "manifest", "records", "execution",
    "processing", "model", "selector", "staging", "metrics", "weights", "api", "inference", "evaluation", "keyframes",
    "training/loop", "training/segmentation", "training/selector", "reporting", "segmenting", "own", "pipeline",
    "launch", "planning", "steps", "ablations", "replay", "app", "commands", "cli",
)  # fmt: skip
HEAVY = {"torch", "torchvision", "transformers", "peft", "sam2", "accelerate"}
FILES = sorted(path.relative_to(ROOT) for folder in ("glus", "flows") for path in (ROOT / folder).rglob("*.py"))
INIT = Path("glus/__init__.py")
GLUS = [file for file in FILES if file.parts[0] == "glus"]


def room(file: Path) -> str:
    """The room a file of `glus/` belongs to."""
    inner = file.with_suffix("").parts[1:]
    if inner[0] == "__main__":
        return "cli"
    if inner[0] == "training" and len(inner) > 2:
        return "/".join(inner[:2])
    return inner[0]


def packages(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_names(file)}


@pytest.mark.parametrize(
    "file", [file for file in GLUS if file not in (INIT, Path("glus/training/__init__.py"))], ids=str
)
def test_rooms_import_downwards(file: Path) -> None:
    assert room(file) in ROOMS, f"{file} lies in no room"
    above = {
        found
        for found in direct(file, for_types=True) - {INIT, Path("glus/training/__init__.py")}
        if ROOMS.index(room(found)) > ROOMS.index(room(file))
    }
    assert not above, f"{file} imports from rooms above it: {sorted(map(str, above))}"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports within functions and those for type checkers included."""
    imports = {str(file): [str(found) for found in direct(file, for_types=True)] for file in FILES}
    try:
        order = list(graphlib.TopologicalSorter(imports).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")
    assert len(order) >= len(FILES)


def test_the_steps_do_not_import_each_other_and_only_the_runner_runs_them() -> None:
    names = {step.stem for step in (ROOT / "glus" / "steps").glob("*.py")}
    steps = names & {"stage", "train", "pseudolabel", "selector", "keyframes", "propagate", "evaluate"}
    modules = {Path("glus/steps") / f"{name}.py" for name in steps}
    assert len(modules) == 7
    assert not {file: direct(file) & modules for file in GLUS if direct(file) & modules}


def test_only_tracking_imports_mlflow_and_only_flows_and_engines_import_prefect_and_ray() -> None:
    mlflow = {str(file) for file in FILES if "mlflow" in packages(file)}
    assert mlflow == {"glus/pipeline/mlflow_uploader.py", "glus/pipeline/machine_load.py"}
    engines = Path("glus/execution/shards")
    assert {file for file in GLUS if "prefect" in packages(file)} == {engines / "prefect_engine.py"}
    assert [file for file in FILES if "ray" in packages(file)] == [engines / "ray_engine.py"]


def test_flows_know_the_steps_and_how_processes_end_and_nothing_else() -> None:
    found = {
        target for file in FILES if file.parts[0] == "flows" for target in direct(file) if target.parts[0] == "glus"
    }
    pipeline, execution = Path("glus/pipeline"), Path("glus/execution")
    known = {pipeline / "table.py", pipeline / "dvc_lock.py", execution / "ties.py", execution / "progress.py"}
    assert found <= known | {Path("glus/paths.py")}


@pytest.mark.parametrize(
    "name",
    [
        "records", "masks.py", "media", "config", "files.py", "manifest.py", "staging", "metrics", "evaluation",
        "reporting", "pipeline", "steps/stage.py", "steps/evaluate.py",
    ],
)  # fmt: skip
def test_light_rooms_reach_no_torch(name: str) -> None:
    files = [file for file in GLUS if file.is_relative_to(Path("glus", name))]
    assert files, f"there is no glus/{name}"
    heavy = {found for file in files for found in reachable(file) if packages(found) & HEAVY}
    assert not heavy, f"torch or its company is imported by {sorted(map(str, heavy))}"


def test_help_and_plans_load_neither_torch_nor_numpy() -> None:
    code = "import sys, glus.cli\ntry: glus.cli.main(['--help'])\nfinally: print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    loaded = set(ast.literal_eval(done.stderr.strip().splitlines()[-1]))
    assert "glus.cli" in loaded
    assert not loaded & (HEAVY | {"numpy", "pandas", "pyarrow", "mlflow", "prefect", "dvc"})


def test_public_names_are_exported_lazily() -> None:
    code = (
        "import sys, glus\nassert 'torch' not in sys.modules\n"
        "from glus import GLUS, KeyFrameSelector, segment_video\n"
        "print(GLUS.__name__, KeyFrameSelector.__name__, segment_video.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["GLUS", "KeyFrameSelector", "segment_video"], done.stderr


def test_numbers_open_no_files_and_know_no_staged_split() -> None:
    for file in GLUS:
        if file.parts[1] == "metrics":
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert not names & {"open", "Path", "StagedSplit"}, file
            assert not packages(file) & {"pathlib", "os", "json", "pyarrow", "PIL"}, file


def test_no_two_classes_have_one_name() -> None:
    classes = Counter(
        node.name
        for file in GLUS
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, count in classes.items() if count > 1]
