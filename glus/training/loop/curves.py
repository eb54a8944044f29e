"""What is seen of training: rows of logged means, saved with the checkpoints, so that a resumed run has each once."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from glus.paths import RUNS
from glus.training.loop.pace import PACE


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

    def write(self, path: Path, leave_out: Collection[str] = ()) -> None:
        """Writes the rows as CSV, one column for each name that was logged."""
        columns = [name for name in dict.fromkeys(name for row in self.rows for name in row) if name not in leave_out]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)

    def write_artifact(self, path: Path) -> None:
        """Writes what is equal in every run of the same parameters: all but the pace."""
        self.write(path, PACE)


class TrainingLog:
    """Keeps what the training loop logs and shows it: in MLflow, and in `runs/<step>.csv` while it runs.

    Args:
        step: name of the step.
        curves: gets the rows.
        log_metrics: of MLflow: values by name, optimiser step.
    """

    def __init__(self, step: str, curves: Curves, log_metrics: Callable[[dict[str, float], int], None]) -> None:
        self._step, self._curves, self._log_metrics = step, curves, log_metrics

    def __call__(self, step: int, phase: str, values: dict[str, float], pace: dict[str, float]) -> None:
        """Takes means over the steps since the last call; see `Hooks.on_log`."""
        self._curves.rows.append({"step": step, "phase": phase, **values, **pace})
        RUNS.mkdir(exist_ok=True)
        self._curves.write(RUNS / f"{self._step}.csv")
        self._log_metrics({f"{self._step}/{name}": value for name, value in {**values, **pace}.items()}, step)
