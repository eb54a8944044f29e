"""Parameters that fine-tune a trained model on one's own videos, and a copy of the model that no step can delete."""

from __future__ import annotations

import shutil
from pathlib import Path

from glus.config.paths import OUTPUTS
from glus.errors import InputError
from glus.files import hash_file
from glus.own.dataset import HELD_OUT, TRAIN, beside
from glus.paths import checkpoint
from glus.publishing import publish
from glus.weights.bases import TRAINED


def keep_model(model: Path, base: Path) -> Path:
    """Copies a model that a step would delete to another place; returns where the one to start from lies.

    Raises:
        InputError: no model there, one that holds only what was trained, or another one in the copy's place.
    """
    if not (model / "config.json").is_file():
        raise InputError(f"{model} has no config.json; name the folder of a trained model, e.g. models/glus/final.")
    if not any(model.resolve().is_relative_to(output.resolve()) for output in OUTPUTS):
        return model
    if (model / TRAINED).is_file():
        raise InputError(
            f"{model} holds only what was trained upon its base. Join them: `glus weights merge {model} weights/whole`,"
            " then name weights/whole."
        )
    if base.exists():
        if _contents(base) != _contents(model):
            raise InputError(f"{base} holds another model. Name another place by --base.")
        return base
    with beside(base) as aside:
        shutil.copytree(model, aside)  # no links: what is written into the model later must not reach the copy
        publish(aside, base)
    return base


def _contents(folder: Path) -> dict[str, str]:
    """Hashes of files, by their paths."""
    return {
        path.relative_to(folder).as_posix(): hash_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def fine_tuning(folder: Path, base: Path, steps: int) -> list[str]:
    """Changes to `params.yaml`, as `glus params` takes them.

    The model has seen its pretraining, so only the paper's training (clips of video) is left. What is about the
    generated clips alone (families, grey intervals, comparisons by them) is taken out.

    Args:
        steps: of training; the model that labels frames for the selector is kept after two fifths of them.
    """
    early = max(1, 2 * steps // 5)
    every = next(each for each in (50, 25, 20, 10, 5, 2, 1) if each <= early)
    return [
        f"stage.splits=[own/{TRAIN}, own/{HELD_OUT}]",
        f"stage.roots={{own: {folder.as_posix()!r}}}",
        f"data.train=[{{split: own/{TRAIN}, weight: 1.0}}]",
        f"data.evaluation=[own/{HELD_OUT}]",
        f"model.base={base.as_posix()!r}",
        "stage.exclude={}",
        "train.kept_steps=[]",
        "train.alignment.steps=0",
        "train.grounding.families=[]",
        "train.image.steps=0",
        "train.tracking.steps=0",
        f"train.clip.steps={steps}",
        "train.clip.families=[]",
        "train.clip.into_grey=0.0",
        f"train.clip.optimiser.warmup_steps={min(20, steps // 5)}",
        f"train.early_stop_step={early}",
        f"train.checkpoint_every={every}",
        f"train.log_every={every}",
        f"pseudolabel.checkpoint={checkpoint(early).as_posix()}",
        "pseudolabel.share=1.0",
        f"selector.steps={steps}",
        f"selector.optimiser.warmup_steps={min(20, steps // 5)}",
        f"selector.checkpoint_every={every}",
        f"selector.log_every={every}",
        "propagate.comparisons.memory_off=[]",
        "propagate.comparisons.key_frames=[all]",
        "propagate.comparisons.strided=[]",
        "propagate.comparisons.window_strides=[]",
        "propagate.comparisons.training_steps=[]",
        "tracking.variant=own",
    ]
