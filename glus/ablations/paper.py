"""The numbers of the paper's Tables 2 to 7 and C (`paper.yaml`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

NUMBERS = Path(__file__).with_name("paper.yaml")
STEPS = "steps"  # column of Table 7: the training step of the best checkpoint, no score


@dataclass(frozen=True)
class PaperCell:
    """One number.

    Attributes:
        table: as the paper counts, `4` or `C`.
        row: its label in the paper.
        place: where `metrics/evaluate.json` has the same: `mevis/valid_u/JF`; or `steps`.
        value: percent; steps for `steps`.
    """

    table: str
    row: str
    place: str
    value: float

    @property
    def split(self) -> str:
        """E.g. `mevis/valid_u`."""
        return "/".join(self.place.split("/")[:2])


class PaperTable(BaseModel):
    """One table: labels of rows, places of columns, and a number for each pair; None where the paper has a dash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: str
    title: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float | None, ...]]

    def cells(self) -> Iterator[PaperCell]:
        """The numbers that the paper gives, row by row."""
        for row, values in self.rows.items():
            for place, value in zip(self.columns, values, strict=True):
                if value is not None:
                    yield PaperCell(self.number, row, place, value)


@cache
def paper_tables() -> tuple[PaperTable, ...]:
    """Tables 2 to 7 and C."""
    values = YAML(typ="safe", pure=True).load(NUMBERS.read_text(encoding="utf-8"))
    return tuple(PaperTable.model_validate(table) for table in values["tables"])


def paper_values(table: str, row: str) -> dict[str, float]:
    """The paper's numbers of a row by place in `metrics/evaluate.json`; none where it has no such row."""
    cells = (cell for found in paper_tables() if found.number == table for cell in found.cells())
    return {cell.place: cell.value for cell in cells if cell.row == row}
