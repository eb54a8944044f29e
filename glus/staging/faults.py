"""What is wrong with a raw dataset, so that its owner can mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


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


def errors(faults: Iterable[Fault]) -> list[Fault]:
    """The faults that refuse a split."""
    return [fault for fault in faults if fault.severity == "error"]


def error(file: str, record: str, problem: str, action: str) -> Fault:
    """A fault that refuses the split."""
    return Fault("error", file, record, problem, action)


def warning(file: str, record: str, problem: str, action: str) -> Fault:
    """A fault that is reported while the rest goes on."""
    return Fault("warning", file, record, problem, action)
