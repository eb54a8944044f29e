"""What the documents name is there: files, and functions where a file is followed by one."""

import ast
import re
from pathlib import Path

import pytest
from local_imports import ROOT
from ruamel.yaml import YAML
from test_imports import ROOMS

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").glob("*.md") if path.stem != "LOG")])
PLACES = ("glus", "flows", "tests", "experiments", "benchmarks", "docs", ".ci")
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
FILE_AND_NAME = re.compile(r"^(\S+\.py): ([\w.]+)$")
DEPLOYMENTS = {
    Path("glus", deployment["name"])
    for deployment in YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]
}
MADE_BY_FOLLOWING = {Path("glus/staging/readers/plain.py"), Path("glus/weights/ported.py")}  # in docs/extending.md


def named_paths(text: str) -> set[Path]:
    words = {match.split(":")[0] for match in QUOTED.findall(text)}
    paths = {Path(word) for word in words if word.split("/")[0] in PLACES and not set(word) & set(" <>*{}()=")}
    return {path for path in paths if len(path.parts) > 1}


def defined_names(file: Path) -> set[str]:
    """Functions, classes, methods and constants of a file."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_is_named_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    missing = {path for path in named_paths(text) - MADE_BY_FOLLOWING - DEPLOYMENTS if not (ROOT / path).exists()}
    missing |= {Path(link) for link in LINK.findall(text) if not (document.parent / link).exists()}
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_name_that_follows_a_file_is_defined_in_it(document: Path) -> None:
    pairs = [
        match.groups()
        for quoted in QUOTED.findall(document.read_text("utf-8"))
        if (match := FILE_AND_NAME.match(quoted))
    ]
    assert not {(file, name) for file, name in pairs if name not in defined_names(ROOT / file)}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_the_table_of_rooms_shows_every_room(document: str) -> None:
    rows = [line for line in (ROOT / document).read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    shown = {Path(name) for row in rows for name in QUOTED.findall(row.split("|")[1])}
    places = {Path("glus", room) for room in ROOMS}
    rooms = {place if (ROOT / place).is_dir() else place.with_suffix(".py") for place in places}
    assert not {room for room in rooms if room not in shown and room.parent not in shown}
