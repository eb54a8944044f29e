"""The ablation tables of the paper, and our own, as changes of `params.yaml` (`overlays/`, one file for each table)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from glus.errors import InputError

OVERLAYS = Path(__file__).with_name("overlays")

# A table compares runs. The comparisons within a run would be made again for each of its variants.
ALONE: Mapping[str, Any] = MappingProxyType(
    {
        "keyframes.comparisons": [],
        "propagate.comparisons.memory_off": [],
        "propagate.comparisons.key_frames": [],
        "propagate.comparisons.strided": [],
        "propagate.comparisons.window_strides": [],
        "propagate.comparisons.training_steps": [],
    }
)


class Variant(BaseModel):
    """One row of a table.

    Attributes:
        name: of its folder, and on the command line.
        row: its label in the paper.
        changes: dotted keys of `params.yaml` and their values: what makes this row, and nothing else.
        needs: the key of files from elsewhere without which the row cannot be made; a table is made without it where it
            names none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    row: str
    changes: Mapping[str, Any]
    needs: str | None = None


class Table(BaseModel):
    """One table.

    Attributes:
        number: as the paper counts: `4`, `C`, `Figure 4`; ours have a name.
        title: what it asks.
        folder: of its results, below `ablations/`.
        common: changes that all its rows share: what the paper's table was measured with.
        variants: its rows, in the paper's order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: str
    title: str
    folder: str
    common: Mapping[str, Any]
    variants: tuple[Variant, ...]

    def changes(self, variant: Variant) -> dict[str, Any]:
        """All that a row changes in `params.yaml`, by dotted key."""
        return {**ALONE, **self.common, **variant.changes}

    def chosen(self, names: Sequence[str]) -> tuple[Variant, ...]:
        """The rows of these names, in the table's order; all where none is named.

        Raises:
            InputError: a row that the table does not have.
        """
        there = [variant.name for variant in self.variants]
        if unknown := [name for name in names if name not in there]:
            raise InputError(f"{self.folder} has no variant {', '.join(unknown)}; it has {', '.join(there)}.")
        return tuple(variant for variant in self.variants if not names or variant.name in names)


def tables() -> Iterator[Table]:
    """All tables."""
    yield from map(_read, sorted(OVERLAYS.glob("*.yaml")))


def find_table(name: str) -> Table:
    """The table of a number or folder: `4` and `table-4` are the same.

    Raises:
        InputError: there is none; names those there are.
    """
    for table in tables():
        if name.lower() in (table.number.lower(), table.folder):
            return table
    known = ", ".join(dict.fromkeys(name for table in tables() for name in (table.number, table.folder)))
    raise InputError(f"There is no ablation table {name!r}; there are: {known}.")


@cache
def _read(file: Path) -> Table:
    values = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    return Table.model_validate({"folder": file.stem.replace("_", "-"), "common": {}, **values})
