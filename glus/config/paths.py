"""Contradictions about files: nothing that the pipeline is given may be deleted by it; what has to be there is."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
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

INSTALLED = Path(__file__).resolve().parents[2]  # the folder that `glus/` lies in
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


def sam2_is_described(config: Config) -> Iterator[str]:
    """SAM-2's configuration is there."""
    name = config.model.sam2_config
    if find_sam2_config(name) is None:
        carried = ", ".join(file.name for file in carried_sam2_configs())
        yield f"model.sam2_config: {name} is no file, and not one of the sam2 package ({carried})"


def find_sam2_config(name: str) -> Path | None:
    """The file of a SAM-2 configuration: from the working folder, from this package, or one that sam2 carries."""
    carried = (file for file in carried_sam2_configs() if file.name == name)
    return next((file for file in (Path(name), INSTALLED / name, *carried) if file.is_file()), None)


def carried_sam2_configs() -> list[Path]:
    """The configurations of the sam2 package, which is looked at without being imported."""
    spec = find_spec("sam2")
    folders = (spec.submodule_search_locations if spec else None) or ()
    return sorted(file for folder in folders for file in Path(folder).glob("configs/*/*hiera*.yaml"))


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
