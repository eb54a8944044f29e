"""Small generated sets."""

from pathlib import Path
from typing import get_args

import pytest

from glus.config import ClipKind, SyntheticConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
KINDS = get_args(ClipKind)


@pytest.fixture(scope="session")
def synthetic() -> SyntheticConfig:
    """The committed parameters with few clips of every kind and all that can be said of them."""
    config = load_config(ROOT / "params.yaml").stage.synthetic
    splits = ("train", "test")
    return config.model_copy(
        update={
            "clips": {"train": dict.fromkeys(KINDS, 2), "test": dict.fromkeys(KINDS, 1)},
            "appearance_sentences": dict.fromkeys(splits, 12),
            "other_sentences": dict.fromkeys(splits, 2),
        }
    )
