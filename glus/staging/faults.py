"""What is wrong with a raw dataset, so that its owner can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal

from glus.errors import InputError

LONGEST_TEXT = 1000  # characters of a fault's field: names from a broken file may be of any length

_brief = Repr()
_brief.maxlevel, _brief.maxstring = 3, 120
shown = _brief.repr  # a value from a file, whatever it is, in a few words


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        severity: an error refuses the split; a warning is reported and the rest goes on.
        file: where, relative to the dataset's root.
        record: which record of it (video, expression, annotation, frame); empty where it is the whole file.
        problem: what was found, and what was expected.
        action: what to do.
    """

    severity: Literal["error", "warning"]
    file: str
    record: str
    problem: str
    action: str

    def __str__(self) -> str:
        place = f"{self.file}, {self.record}" if self.record else self.file
        return f"{place}: {self.problem}. {self.action}."

    def row(self, dataset: str, split: str) -> dict[str, Any]:
        """The fault as a row of the table `staging_errors`."""
        return {"dataset": dataset, "split": split, **asdict(self)}


def errors(faults: Iterable[Fault]) -> list[Fault]:
    """The faults that refuse a split."""
    return [fault for fault in faults if fault.severity == "error"]


def error(file: str, record: str, problem: str, action: str) -> Fault:
    """A fault that refuses the split."""
    return Fault("error", *map(_printable, (file, record, problem, action)))


def warning(file: str, record: str, problem: str, action: str) -> Fault:
    """A fault that is reported while the rest goes on."""
    return Fault("warning", *map(_printable, (file, record, problem, action)))


def problem_with(problem: InputError | str, path: Path | None = None, file: str = "") -> str:
    """What a reader says of a file, with the file as the dataset names it, as part of a fault."""
    text = str(problem).rstrip(".")
    return text.replace(str(path), file) if path else text


def _printable(text: str) -> str:
    """Names come from files that nobody has checked: no control characters for the terminal, nothing endless."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} ..."
