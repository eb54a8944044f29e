"""Sections `stage` and `data`: what is staged, trained on and evaluated (paper 5.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from glus.config.base import ClipKind, Count, Positive, Rate, Section, Seed, Share, SplitName, Weight
from glus.paths import RAW


class SyntheticConfig(Section):
    """The generated set: textured scenes with moving shapes, written in the published MeViS layout."""

    seed: Seed
    size_px: Annotated[int, Field(ge=32, le=4096)]
    num_frames: Annotated[int, Field(ge=4, le=100_000)]
    num_objects: Annotated[int, Field(ge=2, le=4)]
    distinct_colours: Share  # share of the clips in which no two objects have the same colour
    texture: Weight  # amplitude of the background, grey levels
    noise: Weight  # standard deviation of the pixel noise, grey levels
    grey_frames: Annotated[list[Positive], Field(min_length=2, max_length=2)]  # shortest and longest grey interval
    clips: dict[str, dict[ClipKind, Count]]  # split -> kind of clip -> number of clips
    appearance_sentences: dict[str, Positive]  # split -> most sentences of one object's looks
    other_sentences: dict[str, Count]  # split -> most sentences of each family but appearance


class StageConfig(Section):
    """Step 1, paper 5.1: published layouts in, Parquet tables out."""

    splits: Annotated[list[SplitName], Field(min_length=1)]
    roots: dict[str, str]  # dataset -> folder in the dataset's published layout; data/raw/<dataset> where not named
    exclude: dict[SplitName, list[str]]  # split -> videos to leave out: ids, or patterns such as TAO/*
    allow_links: list[str] = Field(default_factory=list)  # folders that symbolic links in the roots may lead into
    synthetic: SyntheticConfig

    def root(self, dataset: str) -> Path:
        """Folder of a dataset in its published layout."""
        return Path(self.roots.get(dataset, RAW / dataset))


class MixtureEntry(Section):
    """One training split and how often a sample is drawn from it (Table 7)."""

    split: SplitName
    weight: Rate


class DataConfig(Section):
    """Which staged splits are trained on, and which are segmented and scored."""

    train: Annotated[list[MixtureEntry], Field(min_length=1)]
    evaluation: Annotated[list[SplitName], Field(min_length=1)]

    @property
    def splits(self) -> dict[str, list[str]]:
        """Names of the splits of both lists, whatever their order and weights: all that staging has to know of them."""
        return {"train": sorted({entry.split for entry in self.train}), "evaluation": sorted(set(self.evaluation))}
