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


def imported_names(file: Path, *, for_types: bool = False) -> Iterator[str]:
    """Dotted names that a file imports, within functions too; those for type checkers only where asked for."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not for_types
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
def direct(file: Path, *, for_types: bool = False) -> frozenset[Path]:
    """The project's files that a file imports."""
    names = imported_names(file, for_types=for_types)
    return frozenset(found for name in names if (found := module_file(name)) and found != file)


def reachable(file: Path) -> set[Path]:
    """The project's files that a file imports, itself and what they import included."""
    seen, left = {file}, [file]
    while left:
        for found in direct(left.pop()) - seen:
            seen.add(found)
            left.append(found)
    return seen
