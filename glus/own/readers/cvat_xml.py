"""CVAT's XML as elements, one after the other, without a document type: no entities, no outside files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from glus.errors import InputError
from glus.own.labels import require_labels

_OF_A_TASK = re.compile(r"^(project/tasks/task|[^/]+)/")
SHAPES = ("box", "polygon", "mask", "polyline", "points", "ellipse", "cuboid", "skeleton")


@dataclass
class Group:
    """A `track` or an `image` with its shapes: the name of each and its attributes."""

    kind: str
    attributes: dict[str, str]
    shapes: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@dataclass
class Document:
    """What CVAT exports: facts about the task by their path below `meta`, and its groups."""

    facts: dict[str, str]
    groups: list[Group]


def parse(file: Path) -> Document:
    """Reads an export.

    Raises:
        InputError: it is no XML, has a document type, or is no export of CVAT; names the line.
    """
    require_labels(file)
    builder = _Builder(file)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = builder.refuse_document_type
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.text
    try:
        with file.open("rb") as content:
            parser.ParseFile(content)
    except OSError as problem:
        raise InputError(f"{file} cannot be read ({problem.strerror}).") from problem
    except expat.ExpatError as problem:
        raise InputError(f"{file} is not whole XML ({problem}). Export it again as CVAT 1.1.") from problem
    if builder.outermost != "annotations":
        raise InputError(f"{file} holds <{builder.outermost}>, expected <annotations>. Export it as CVAT 1.1.")
    return Document(builder.facts, builder.groups)


class _Builder:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: list[str] = []
        self.outermost = ""
        self.facts: dict[str, str] = {}
        self.groups: list[Group] = []

    def refuse_document_type(self, *_: object) -> NoReturn:
        raise InputError(f"{self._file} declares a document type, which CVAT never writes. Export it again.")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.outermost = self.outermost or name
        self._open.append(name)
        if name in ("track", "image") and len(self._open) == 2:
            self.groups.append(Group(name, attributes))
        elif name in SHAPES and len(self._open) == 3 and self.groups:
            self.groups[-1].shapes.append((name, attributes))

    def text(self, content: str) -> None:
        if self._open[1:2] == ["meta"]:
            path = "/".join(self._open[2:])
            self.facts[path] = self.facts.get(path, "") + content

    def end(self, _: str) -> None:
        self._open.pop()


def texts(document: Document, *names: str) -> Iterator[str]:
    """What is said of the task, job or project under these names; those asked for first come first."""
    for name in names:
        for path, value in document.facts.items():
            if _OF_A_TASK.sub("", path) == name and value.strip():
                yield value.strip()
