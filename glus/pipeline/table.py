"""The seven steps, described once: `dvc.yaml`, the command line and the flows agree with this table (tested)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from glus.paths import (
    EVALUATION_METRICS,
    EVALUATION_SPLITS,
    FAMILY_METRICS,
    FINAL_MODEL,
    GENERATED,
    KEY_FRAMES,
    MODELS,
    PREDICTIONS,
    PSEUDOLABELS,
    REPORTS,
    SELECTOR,
    SELECTOR_CURVES,
    SELECTOR_METRICS,
    SELECTOR_PICTURE,
    STAGED,
    TRAINING_CURVES,
    TRAINING_METRICS,
    TRAINING_SPLITS,
    TRAINING_STEP_METRICS,
)


@dataclass(frozen=True)
class Step:
    """One step of the pipeline.

    Attributes:
        name: DVC stage, module in `glus/steps/`, section of `params.yaml`, Prefect task and command.
        parameters: keys of `params.yaml` that decide its result.
        inputs: artifacts that it reads.
        outputs: artifacts that it writes.
        outside: keys of `params.yaml` that name files from outside of the pipeline, which decide its result too.
        summary: one line for people.
        trains: it may be shared by several processes that train together.
        devices: a model runs in it, on a GPU where there is one.
        shards: its videos can be spread over machines (`compute.engine`).
        for_selector: it is there for the key-frame selector alone, which some sources of key frames do without.
        lists_splits: it lists the splits of `data`, whose names decide its result, and not their weights.
    """

    name: str
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    summary: str
    outside: tuple[str, ...] = ()
    trains: bool = False
    devices: bool = False
    shards: bool = False
    for_selector: bool = False
    lists_splits: bool = False

    @property
    def has_state(self) -> bool:
        """Whether `sources/<name>.json` tells DVC what it depends on besides artifacts and parameters."""
        return bool(self.outside) or self.for_selector or self.lists_splits


EARLY_STOP_MODEL = "${pseudolabel.checkpoint}"  # filled by DVC, and by `glus.pipeline.artifacts.resolve`


def _paths(*artifacts: Path | str) -> tuple[str, ...]:
    return tuple(map(str, artifacts))


STEPS: tuple[Step, ...] = (
    Step(
        "stage",
        ("stage",),
        (),
        _paths(STAGED, GENERATED),
        "datasets into Parquet tables",
        ("stage.roots",),
        lists_splits=True,
    ),
    Step(
        "train",
        ("seed", "data.train", "model", "train", "compute.precision"),
        _paths(TRAINING_SPLITS),
        _paths(MODELS, TRAINING_METRICS, TRAINING_CURVES),
        "GLUS, with the early-stop checkpoint",
        ("model.base", "model.vision_tower", "model.sam2_weights", "model.sam2_config"),
        trains=True,
        devices=True,
    ),
    Step(
        "pseudolabel",
        ("seed", "pseudolabel", "compute.precision"),
        _paths(TRAINING_SPLITS, EARLY_STOP_MODEL),
        _paths(PSEUDOLABELS),
        "IoU of the early-stop model on every frame of the share of the training set that is labelled",
        devices=True,
        shards=True,
        for_selector=True,
    ),
    Step(
        "selector",
        ("seed", "data.train", "selector", "compute.precision"),
        _paths(TRAINING_SPLITS, EARLY_STOP_MODEL, FINAL_MODEL, PSEUDOLABELS),
        _paths(SELECTOR, SELECTOR_METRICS, SELECTOR_CURVES, SELECTOR_PICTURE),
        "the key-frame selector, fine-tuned on the labels",
        ("selector.model.base", "selector.model.vision_tower"),
        trains=True,
        devices=True,
        for_selector=True,
    ),
    Step(
        "keyframes",
        ("seed", "data.evaluation", "pseudolabel", "selector.model", "keyframes", "compute.precision"),
        _paths(EVALUATION_SPLITS, EARLY_STOP_MODEL, SELECTOR),
        _paths(KEY_FRAMES),
        "a score for every frame of the evaluation splits",
        ("keyframes.files", "selector.model.base", "selector.model.vision_tower"),
        devices=True,
        shards=True,
    ),
    Step(
        "propagate",
        ("data.evaluation", "propagate", "compute.precision"),
        _paths(EVALUATION_SPLITS, MODELS, KEY_FRAMES),
        _paths(PREDICTIONS),
        "masks, forward and backward from the key frame",
        ("propagate.cutie_weights",),
        devices=True,
        shards=True,
    ),
    Step(
        "evaluate",
        ("data.evaluation", "evaluate"),
        _paths(EVALUATION_SPLITS, KEY_FRAMES, PREDICTIONS),
        _paths(EVALUATION_METRICS, FAMILY_METRICS, TRAINING_STEP_METRICS, REPORTS),
        "J, F and J&F, baselines, report",
        shards=True,
    ),
)
