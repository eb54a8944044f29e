"""Contradictions between what the pipeline is given and what it writes: nothing that it reads may be deleted by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from glus.config.base import DATASETS
from glus.config.root import Config
from glus.paths import (
    GENERATED,
    KEY_FRAMES,
    METRICS,
    MODELS,
    PREDICTIONS,
    PSEUDOLABELS,
    REPORTS,
    SELECTOR,
    STAGED,
)  # fmt: skip

# Of all steps; `dvc repro` deletes a step's outputs before it runs the step
OUTPUTS = (STAGED, GENERATED, MODELS, PSEUDOLABELS, SELECTOR, KEY_FRAMES, PREDICTIONS, REPORTS, METRICS)


def outside_paths_are_safe(config: Config) -> Iterator[str]:
    """Weights, lists and raw data that a parameter names lie apart from what the steps write."""
    for key, name in _named_paths(config):
        path = Path(name).resolve()
        for output in OUTPUTS:
            if path.is_relative_to(output.resolve()):
                yield (
                    f"{key}: {name} lies in {output}, which is deleted and written anew when its step runs. Copy it"
                    f" first: `mkdir -p weights && cp -r {name} weights/`, then {key}=weights/{path.name}"
                )
            elif output.resolve().is_relative_to(path):
                yield f"{key}: {name} holds {output}, which the pipeline writes; name the folder of the data alone"
    for dataset in config.stage.roots:
        if dataset not in DATASETS or dataset == "synthetic":
            known = ", ".join(name for name in DATASETS if name != "synthetic")
            yield f"stage.roots.{dataset}: no dataset that is read from a folder is called so (there are: {known})"


def _named_paths(config: Config) -> Iterator[tuple[str, str]]:
    model, selector = config.model, config.selector.model
    named = {
        "model.base": model.base,
        "model.vision_tower": model.vision_tower,
        "model.sam2_weights": model.sam2_weights,
        "model.sam2_config": model.sam2_config,
        "selector.model.base": selector.base,
        "selector.model.vision_tower": selector.vision_tower,
        "propagate.cutie_weights": config.propagate.cutie_weights,
        **{f"stage.roots.{dataset}": root for dataset, root in config.stage.roots.items()},
        **{f"keyframes.files.{split}": file for split, file in config.keyframes.files.items()},
    }
    yield from ((key, name) for key, name in named.items() if name is not None)
