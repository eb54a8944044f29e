"""Which of the project's own modules a module imports when it runs, read from the source without importing anything."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def module_file(name: str) -> Path | None:
    """The file of a dotted name, relative to the root, or None where it is not a module of this project."""
    path = Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


def imported_names(file: Path) -> Iterator[str]:
    """Dotted names that a file imports, within functions too, those for type checkers left out."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def direct(file: Path) -> frozenset[Path]:
    """The project's files that a file imports."""
    return frozenset(found for name in imported_names(file) if (found := module_file(name)) and found != file)


def reachable(file: Path) -> set[Path]:
    """The project's files that a file imports, itself and what they import included."""
    seen, left = {file}, [file]
    while left:
        for found in direct(left.pop()) - seen:
            seen.add(found)
            left.append(found)
    return seen
