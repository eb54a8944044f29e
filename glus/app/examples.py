"""Clips to try the page with: drawn by the generator of the default training set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from glus.config import PRESETS, ClipKind, load_config
from glus.media.sources import number_frames
from glus.staging.synthetic import draw_clip

SPLIT = "test"  # nothing is trained on it
CLIPS: dict[str, tuple[ClipKind, int]] = {
    "Moving shapes": ("plain", 0),
    "Grey at first": ("starts_grey", 0),  # a later key frame helps
    "Behind a bar": ("occluded", 0),
}
MOST_SENTENCES = 2


@dataclass(frozen=True)
class Example:
    """A clip as a folder of pictures, and sentences that fit it."""

    folder: Path
    sentences: tuple[str, ...]


def write_examples(folder: Path) -> dict[str, Example]:
    """Draws the clips; returns them by what they are called."""
    config = load_config(PRESETS / "tiny.yaml").stage.synthetic
    examples = {}
    for number, (name, clip) in enumerate(CLIPS.items()):
        _, sentences, frames, _ = draw_clip(config, SPLIT, clip)
        own = folder / f"example-{number}"
        own.mkdir(parents=True)
        for frame_name, frame in zip(number_frames(len(frames)), frames, strict=True):
            Image.fromarray(frame).save(own / f"{frame_name}.png")
        examples[name] = Example(own, tuple(sentence.text for sentence in sentences[:MOST_SENTENCES]))
    return examples
