"""The published selector's outputs, as listed in `cases.json` of whatever folder `GLUS_SHARED` names."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from glus import KeyFrameSelector
from glus.processing.selector_conversation import ANSWERS, REQUESTS, Tail, context_text, encode_tail, request_text
from glus.processing.sentences import IMAGE, taught_to_selector
from glus.processing.tokenizer import LlamaSentencePiece

CONTEXT = re.compile(rf"\(\d+\){IMAGE}")


@dataclass(frozen=True)
class SelectorGoldens:
    folder: Path

    @cached_property
    def cases(self) -> dict[str, Any]:
        listing = self.folder / "cases.json"
        return json.loads(listing.read_text()) if listing.is_file() else {}

    def kind(self, *path: str) -> Any:
        """An entry of `cases.json`; the test is skipped where the folder does not hold it."""
        entry = self.cases
        for name in path:
            if not isinstance(entry, dict) or name not in entry:
                pytest.skip(f"{self.folder} holds no selector case {'/'.join(path)}")
            entry = entry[name]
        return entry

    def file(self, name: str) -> Path:
        """A file of the folder; the test is skipped where it is not there."""
        if not (self.folder / name).is_file():
            pytest.skip(f"{self.folder} holds no {name}")
        return self.folder / name

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.file(name)) as archive:
            return dict(archive)

    def json(self, name: str) -> Any:
        return json.loads(self.file(name).read_text())

    def results(self, part: str) -> dict[str, dict[str, Any]]:
        """The recorded runs of a part by name, without and with noise; other entries of `results` left out."""
        entries = self.cases.get(part, {}).get("results", {})
        return {name: run for name, run in entries.items() if isinstance(run, dict) and "noise" in run}

    def model(self, name: str) -> KeyFrameSelector:
        """A published checkpoint with the CLIP tower that its files leave out."""
        self.file(f"{name}/config.json")
        torch.set_num_threads(1)
        return KeyFrameSelector.from_pretrained(self.folder / name, vision_tower=self.folder / "clip")

    def tokenizer(self) -> LlamaSentencePiece:
        self.file("selector/tokenizer.model")
        return LlamaSentencePiece.from_pretrained(self.folder / "selector")

    def images(self, split: str, video: str, names: list[str]) -> list[Image.Image]:
        return [Image.open(self.file(f"cases/frames/{split}/{video}/{name}.png")).convert("RGB") for name in names]

    def conversations(self) -> Iterator[tuple[str, str]]:
        """Every recorded training conversation with its expression."""
        for sample in self.kind("B", "samples"):
            yield from zip(sample["conversations"], sample["expressions"], strict=True)


def selector_goldens() -> SelectorGoldens:
    root = Path(os.environ.get("GLUS_SHARED", Path(__file__).resolve().parents[4] / "shared"))
    return SelectorGoldens(root.resolve() / "goldens/selector")


def parametrised(name: str, cases: list, kind: Callable[[Any], Any], label: Callable[[Any], str]) -> Any:
    """Runs a test for each case; those of a kind that came before are left to `make parity`."""
    seen, marked = set(), []
    for case in cases:
        marks = [pytest.mark.every_case] if kind(case) in seen else []
        seen.add(kind(case))
        marked.append(pytest.param(case, id=label(case), marks=marks))
    skipped = pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"no {name} in {selector_goldens().folder}"))
    return pytest.mark.parametrize("case", marked or [skipped])


def parse_conversation(tokenizer: LlamaSentencePiece, text: str, expression: str) -> Tail:
    """The tail of a recorded conversation, worded by our templates and rule, which have to give the very text."""
    expression = taught_to_selector(expression)
    num_context = len(CONTEXT.findall(text))
    for request, answer in product(range(len(REQUESTS)), range(len(ANSWERS))):
        worded = f"{context_text(num_context)}{IMAGE}{request_text(expression, request)} {ANSWERS[answer]}</s>"
        if worded == text:
            return encode_tail(tokenizer, expression, request, answer)
    raise AssertionError(f"no template gives {text!r} for {expression!r}")


def largest(ours: torch.Tensor | np.ndarray, theirs: np.ndarray) -> float:
    """Largest absolute difference of two arrays of one shape."""
    found = np.asarray(ours, dtype=np.float64)
    assert found.shape == theirs.shape, f"{found.shape} against {theirs.shape}"
    return float(np.abs(found - theirs).max())
