"""A small sample of `experiments/fuzz_real_input.py`: a fault, or the pictures that the `ffmpeg` command shows."""

import importlib
import shutil
from pathlib import Path

import pytest


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the reference is the `ffmpeg` command")
def test_no_third_outcome(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(root / "experiments")
    counts = importlib.import_module("fuzz_real_input").run(films=8, folders=20, seed=1)
    assert sum(count["THIRD"] for count in counts.values()) == 0
    assert counts["folders"]["same"] and counts["folders"]["fault"] and counts["films"]["same"]
