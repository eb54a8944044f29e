"""Sections `propagate` and `evaluate` (paper 4.1, 5.1, B.3)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from glus.config.base import Count, Positive, Section, Seed, Share, TrackerName, WindowStride


class ComparisonsConfig(Section):
    """Families segmented once more in another way, to show what a part is worth; `all` stands for every expression."""

    memory_off: list[str]
    key_frames: list[str]  # from the key frames of each of keyframes.comparisons
    strided: list[str]  # with each of window_strides
    window_strides: list[WindowStride]
    training_steps: list[str]  # by each model that training has kept


class PropagateConfig(Section):
    """Step 6, paper 4.1, 4.4, B.3."""

    tracker: TrackerName  # Table 6; glus: the language model speaks at every frame; others: at the key frame alone
    cutie_weights: str | None  # for tracker: cutie
    use_memory: bool
    memory_stride: Positive  # B.3: 3
    window_stride: WindowStride
    published_frame_names: bool  # true: masks of a key-frame run under the wrong names, as published
    comparisons: ComparisonsConfig


class FailuresConfig(Section):
    """Bounds on IoU by which the report tells how a frame fails; see `glus.metrics.failures`."""

    found: Share  # from here on a mask is on an object
    fits: Share  # above it only the outline is imprecise

    @model_validator(mode="after")
    def _ordered(self) -> FailuresConfig:
        if self.found > self.fits:
            raise ValueError(f"found {self.found} is above fits {self.fits}: a mask that fits would not be found")
        return self


class EvaluateConfig(Section):
    """Step 7, paper 5.1."""

    boundary: Annotated[float, Field(gt=0, le=1)]  # radius of F as a share of the diagonal
    failures: FailuresConfig
    num_examples: Count  # overlay strips in the report
    seed: Seed  # of the baselines that draw
