"""The seven steps, described once: `dvc.yaml`, the command line and the flows agree with this table (tested)."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    name: str
    parameters: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    summary: str
    outside: tuple[str, ...] = ()


STEPS: tuple[Step, ...] = (
    Step(
        "stage",
        ("stage", "data"),
        (),
        ("data/staged", "data/raw/synthetic"),
        "datasets into Parquet tables",
        ("stage.roots",),
    ),
    Step(
        "train",
        ("seed", "data.train", "model", "train", "compute.precision"),
        ("data/staged/train.json",),
        ("models/glus", "metrics/train.json", "metrics/train_curves.csv"),
        "GLUS, with the early-stop checkpoint",
        ("model.base", "model.vision_tower", "model.sam2_weights", "model.sam2_config"),
    ),
    Step(
        "pseudolabel",
        ("seed", "pseudolabel", "compute.precision"),
        ("data/staged/train.json", "${pseudolabel.checkpoint}"),
        ("data/pseudolabels",),
        "IoU of the early-stop model on every frame of half of the training set",
    ),
    Step(
        "selector",
        ("seed", "data.train", "selector", "compute.precision"),
        ("data/staged/train.json", "${pseudolabel.checkpoint}", "models/glus/final", "data/pseudolabels"),
        ("models/selector", "metrics/selector.json", "metrics/selector_curves.csv", "metrics/selector.png"),
        "the key-frame selector, fine-tuned on the labels",
        ("selector.model.base", "selector.model.vision_tower"),
    ),
    Step(
        "keyframes",
        ("seed", "data.evaluation", "pseudolabel", "selector.model", "keyframes", "compute.precision"),
        ("data/staged/evaluation.json", "${pseudolabel.checkpoint}", "models/selector"),
        ("data/keyframes",),
        "a score for every frame of the evaluation splits",
        ("keyframes.files", "selector.model.base", "selector.model.vision_tower"),
    ),
    Step(
        "propagate",
        ("data.evaluation", "propagate", "compute.precision"),
        ("data/staged/evaluation.json", "models/glus/final", "data/keyframes"),
        ("predictions",),
        "masks, forward and backward from the key frame",
    ),
    Step(
        "evaluate",
        ("data.evaluation", "evaluate"),
        ("data/staged/evaluation.json", "data/keyframes", "predictions"),
        ("metrics/evaluate.json", "metrics/evaluate_families.csv", "reports"),
        "J, F and J&F, baselines, report",
    ),
)
