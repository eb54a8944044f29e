"""The published GLUS's outputs, as listed in `cases.json` of whatever folder `GLUS_SHARED` names."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glus.data.tokenizer import LlamaSentencePiece
from tests.parity.differences import DIFFERENCES


@dataclass(frozen=True)
class GlusGoldens:
    folder: Path

    @cached_property
    def cases(self) -> dict[str, Any]:
        return json.loads((self.folder / "cases.json").read_text())

    @cached_property
    def tables(self) -> dict[str, Any]:
        return json.loads((self.folder / "cases/tables.json").read_text())

    @cached_property
    def tokenizer(self) -> LlamaSentencePiece:
        return LlamaSentencePiece.from_pretrained(self.folder / self.cases["model"]["checkpoint"])

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / name) as archive:
            return dict(archive)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Largest differences from the published outputs, case by case."""
    if DIFFERENCES:
        terminalreporter.section("largest difference from the published outputs (tolerance)")
    for (case, quantity), (difference, tolerance) in DIFFERENCES.items():
        terminalreporter.line(f"{case:<28} {quantity:<24} {difference:.1e} ({tolerance:.0e})")


@pytest.fixture(scope="session")
def goldens(shared: Path) -> GlusGoldens:
    folder = shared / "goldens" / "glus"
    if not (folder / "cases.json").is_file():
        pytest.skip(f"no GLUS goldens in {folder}")
    return GlusGoldens(folder)
