"""A result over everything and of each group; a leaf, so that steps which train do not depend on scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np


class Result(Protocol):
    """What can be written as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""


Item = TypeVar("Item")
R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Grouped(Generic[R]):
    """A result over everything, and the same for each group: a family of expressions, or an annotator."""

    overall: R
    groups: Mapping[str, R]

    @classmethod
    def from_json(cls, values: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], R]) -> Grouped[R]:
        """What `to_json` wrote, each result read by `read`."""
        return cls(read(values), {group: read(of_group) for group, of_group in values[name].items()})

    def to_json(self, name: str) -> dict[str, Any]:
        """The overall result, with the groups under `name`."""
        return {**self.overall.to_json(), name: {group: result.to_json() for group, result in self.groups.items()}}


def by_family(
    items: Iterable[Item], family: Callable[[Item], str | None], summarise: Callable[[list[Item]], R]
) -> dict[str, R]:
    """The result of each family, in the order of their names; what has no family is left out."""
    families: dict[str, list[Item]] = {}
    for item in items:
        if (name := family(item)) is not None:
            families.setdefault(name, []).append(item)
    return {name: summarise(families[name]) for name in sorted(families)}


def percent(values: Iterable[float | np.floating]) -> float:
    """The mean of shares, in percent."""
    return 100 * float(np.mean([*values]))
