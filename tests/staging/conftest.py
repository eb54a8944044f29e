"""Small generated sets and hand-made datasets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

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


@pytest.fixture
def write_frames() -> Callable[..., None]:
    """Writes JPEG frames of one colour, 48 x 32."""

    def write(folder: Path, names: list[str]) -> None:
        folder.mkdir(parents=True)
        for index, name in enumerate(names):
            Image.new("RGB", (48, 32), (10 * index, 80, 120)).save(folder / f"{name}.jpg")

    return write


@pytest.fixture
def write_pngs() -> Callable[..., None]:
    """Writes uint8 arrays as indexed PNG."""

    def write(folder: Path, pixels: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        for name, values in pixels.items():
            image = Image.fromarray(np.asarray(values, dtype=np.uint8), mode="P")
            image.putpalette([value for index in range(256) for value in (index, 255 - index, 0)])
            image.save(folder / f"{name}.png")

    return write
