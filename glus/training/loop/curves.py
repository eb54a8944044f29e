"""Training curves: what was logged, saved with the checkpoints, so that a resumed run has each row once."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


class Curves:
    """Rows of logged means."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        """All rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes saved rows over."""
        self.rows = list(state["rows"])

    def write(self, path: Path) -> None:
        """Writes the rows as CSV, one column for each name that was logged."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
