"""The published GLUS's outputs, as listed in `cases.json` of whatever folder `GLUS_SHARED` names."""

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glus import GLUS
from glus.processing.tokenizer import LlamaSentencePiece
from tests.conftest import ROOT
from tests.parity.differences import DIFFERENCES


@dataclass(frozen=True)
class GlusGoldens:
    folder: Path
    _models: dict[str, GLUS] = field(default_factory=dict)

    @cached_property
    def cases(self) -> dict[str, Any]:
        return json.loads((self.folder / "cases.json").read_text())

    @cached_property
    def tokenizer(self) -> LlamaSentencePiece:
        return LlamaSentencePiece.from_pretrained(self.folder / self.cases["model"]["checkpoint"])

    @property
    def clip(self) -> Path:
        return self.folder / self.cases["model"]["clip"]

    @property
    def sam2_config(self) -> str:
        """A file of the folder, or the name of one that the sam2 package carries."""
        name = self.cases["model"]["sam2_config"]
        return str(self.folder / name) if (self.folder / name).is_file() else name

    def load(self, gamma: str) -> GLUS:
        """A fresh model, `gamma` kept or lost."""
        torch.set_num_threads(1)
        return GLUS.from_pretrained(
            self.folder / self.cases["model"]["checkpoint"],
            vision_tower=self.clip,
            sam2_config=self.sam2_config,
            load_gamma=gamma == "kept",
        )

    def model(self, gamma: str) -> GLUS:
        """One model of each kind for all tests that leave it as it is."""
        if gamma not in self._models:
            self._models[gamma] = self.load(gamma)
        return self._models[gamma]

    def section(self, name: str) -> Any:
        """A section of `cases.json`; where there is none, the test is skipped."""
        if not self.cases.get(name):
            pytest.skip(f"{self.folder / 'cases.json'} has no {name}")
        return self.cases[name]

    def table(self, name: str) -> dict[str, Any]:
        """A table of `cases/tables.json`; where there is none, the test is skipped."""
        return self._content("cases/tables.json", name)

    def demonstration(self, name: str) -> dict[str, Any]:
        """A part of `cases/demonstrations.json`; where there is none, the test is skipped."""
        return self._content("cases/demonstrations.json", name)

    def _content(self, file: str, name: str) -> dict[str, Any]:
        path = self.folder / file
        content = json.loads(path.read_text()) if path.is_file() else {}
        if name not in content:
            pytest.skip(f"{path} has no {name}")
        return content[name]

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / name) as archive:
            return dict(archive)

    def tolerance(self, kind: str, quantity: str) -> float:
        """Allowed difference of a quantity of the `inference` or `training` cases."""
        return self.cases["tolerances"][kind][quantity]["tolerance"]


def golden_folder() -> Path:
    return Path(os.environ.get("GLUS_SHARED", ROOT.parent / "shared")) / "goldens/glus"


def inference_cases() -> list[Any]:
    """Every inference case as a parameter; one of each kind runs by default."""
    listing = golden_folder() / "cases.json"
    cases = json.loads(listing.read_text()).get("inference", []) if listing.is_file() else []
    seen, marked = set(), []
    for case in cases:
        anchor = case.get("anchor_frame")
        place = None if anchor is None else (anchor > 0) + (anchor == case["num_frames"] - 1)
        kind = (case["use_memory"], case.get("memory_stride"), place, bool(case.get("missed_steps")))
        marked.append(pytest.param(case, id=case["id"], marks=[pytest.mark.every_case] if kind in seen else []))
        seen.add(kind)
    return marked or [pytest.param(None, marks=pytest.mark.skip(reason=f"no inference cases in {listing}"))]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Largest differences from the published outputs, case by case."""
    if DIFFERENCES:
        terminalreporter.section("largest difference from the published outputs (tolerance)")
    for (case, quantity), (difference, tolerance) in DIFFERENCES.items():
        terminalreporter.line(f"{case:<28} {quantity:<40} {difference:.1e} ({tolerance:.0e})")


@pytest.fixture(scope="session")
def goldens(shared: Path) -> GlusGoldens:
    folder = shared / "goldens" / "glus"
    if not (folder / "cases.json").is_file():
        pytest.skip(f"no GLUS goldens in {folder}")
    return GlusGoldens(folder)
