"""All of `params.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from glus.config.base import Section, Seed
from glus.config.data import DataConfig, StageConfig
from glus.config.evaluation import EvaluateConfig, PropagateConfig
from glus.config.model import ModelConfig
from glus.config.runtime import ComputeConfig, TrackingConfig
from glus.config.selection import KeyframesConfig, PseudolabelConfig, SelectorConfig
from glus.config.training import TrainConfig


class Config(Section):
    """All of `params.yaml`."""

    seed: Seed
    stage: StageConfig
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    pseudolabel: PseudolabelConfig
    selector: SelectorConfig
    keyframes: KeyframesConfig
    propagate: PropagateConfig
    evaluate: EvaluateConfig
    tracking: TrackingConfig
    compute: ComputeConfig

    def parameters(self, sections: Iterable[str]) -> dict[str, Any]:
        """The named sections (dotted keys allowed) as plain data: what a manifest records and DVC compares."""
        everything = self.model_dump(mode="json")
        return {name: _lookup(everything, name) for name in sections}


def _lookup(tree: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        tree = tree[key]
    return tree
