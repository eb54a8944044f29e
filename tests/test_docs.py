"""What the documents name is there: files, and functions where a file is followed by one."""

import ast
import re
from pathlib import Path

import pytest
from local_imports import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").glob("*.md") if path.stem != "LOG")])
PLACES = ("glus", "flows", "tests", "experiments", "benchmarks", "docs", ".ci")
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
FILE_AND_NAME = re.compile(r"^(\S+\.py): ([\w.]+)$")
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
    missing = {path for path in named_paths(text) - MADE_BY_FOLLOWING if not (ROOT / path).exists()}
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


def test_the_tour_shows_every_room() -> None:
    tour = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {path.relative_to(ROOT).as_posix() + ("/" if path.is_dir() else "") for path in (ROOT / "glus").iterdir()}
    missing = {
        room for room in rooms if room not in tour and not room.endswith(("__.py", "__/", "training/", "py.typed"))
    }
    assert not missing
