"""What the documents name is there: files, and functions where a file is followed by one."""

import ast
import re
from pathlib import Path

import pytest
from local_imports import ROOT
from ruamel.yaml import YAML
from test_imports import ROOMS
from typer.main import get_command

from experiments.pictures import IMAGES, PICTURES
from glus.cli import app
from glus.pipeline.table import STEPS

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for path in (ROOT / "docs").glob("*.md") if path.stem != "LOG")])
PLACES = ("glus", "flows", "tests", "experiments", "benchmarks", "docs", ".ci")
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
FENCED = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
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


@pytest.fixture(scope="module")
def document_lines() -> dict[Path, list[str]]:
    """What stands in fences and between backticks, line by line."""
    texts = {document: document.read_text(encoding="utf-8") for document in DOCUMENTS if document.stem != "CHANGELOG"}
    return {
        document: [line for block in FENCED.findall(text) for line in block.splitlines()]
        + QUOTED.findall(FENCED.sub("", text))
        for document, text in texts.items()
    }


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


def test_the_readme_leads_to_every_guide() -> None:
    linked = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert not {f"docs/{guide.name}" for guide in (ROOT / "docs").glob("*.md")} - linked


def test_the_table_of_rooms_shows_every_room() -> None:
    rows = [
        line for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    shown = {Path(name) for row in rows for name in QUOTED.findall(row.split("|")[1])}
    places = {Path("glus", room) for room in ROOMS}
    rooms = {place if (ROOT / place).is_dir() else place.with_suffix(".py") for place in places}
    assert not {room for room in rooms if room not in shown and room.parent not in shown}


def test_every_picture_is_shown_and_made_by_one_command() -> None:
    shown = {
        (document.parent / picture).resolve()
        for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        for picture in PICTURE.findall(document.read_text(encoding="utf-8"))
    }
    made = {ROOT / IMAGES / name for name in PICTURES}
    assert shown == made | {ROOT / "docs" / "pipeline.svg"}
    assert set((ROOT / IMAGES).iterdir()) == made


def test_the_picture_of_the_steps_shows_the_steps() -> None:
    drawn = re.findall(r'class="name"[^>]*>(\d) (\w+)<', (ROOT / "docs" / "pipeline.svg").read_text(encoding="utf-8"))
    assert drawn == [(str(number), step.name) for number, step in enumerate(STEPS, 1)]


def test_every_command_that_is_named_is_there(document_lines: dict[Path, list[str]]) -> None:
    glus, unknown = get_command(app), set()
    for document, lines in document_lines.items():
        for line in lines:
            for words in map(str.split, re.findall(r"(?<![\w/.-])(?:\.venv/bin/)?glus ([^#;&|`]+)", line)):
                command = glus if words[0].startswith("--") else glus.commands.get(words[0])
                inner = {} if command is glus else getattr(command, "commands", {})
                if inner and len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
                    command = inner.get(words[1])
                options = {word.partition("=")[0] for word in words if word.startswith("--")}
                known = {
                    option for each in getattr(command, "params", []) for option in (*each.opts, *each.secondary_opts)
                }
                unknown |= {(document.name, line)} if command is None or options - known - {"--help"} else set()
    assert not unknown


def test_every_target_and_every_script_that_is_named_is_there(document_lines: dict[Path, list[str]]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(line for lines in document_lines.values() for line in lines)
    assert set(re.findall(r"(?:^|\s)make ([a-z]+)", text, re.MULTILINE)) <= targets
    modules = set(re.findall(r"-m (experiments\.\w+|flows\.\w+)", text))
    assert modules and not {name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").is_file()}
