"""Step 4, paper 4.4, B.4, Table B: the key-frame selector, fine-tuned on the IoU that GLUS reached on each frame."""

from __future__ import annotations

import gc
import logging
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from glus.config import Config, SelectorModelConfig
from glus.errors import InputError
from glus.files import write_json
from glus.manifest import read_manifest
from glus.model.checkpointing import checkpoint_activations
from glus.model.lora import add_lora, merged_state_dict
from glus.paths import PSEUDOLABELS, SELECTOR, SELECTOR_CURVES, SELECTOR_METRICS, SELECTOR_PICTURE
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.reporting.selector_report import ScoredTrack, draw_selector_report
from glus.selector.model import SelectorModel
from glus.training.loop.checkpoints import Checkpoints
from glus.training.loop.curves import Curves, TrainingLog
from glus.training.loop.engine import Engine, open_engine
from glus.training.loop.group import from_first, wait_for_all
from glus.training.loop.phase import Hooks, Phase
from glus.training.loop.trainable import select_parameters
from glus.training.loop.trainer import Trainer
from glus.training.selector.held_out import score_held_out
from glus.training.selector.initial_selector import build_untuned
from glus.training.selector.labels import LabelledVideo, hold_out, read_labels
from glus.training.selector.objective import SelectorObjective
from glus.training.selector.samples import SelectorSampler
from glus.training.selector.validation import validate
from glus.weights.selector_released import is_published
from glus.weights.selector_saved import save_selector, save_trained_selector

logger = logging.getLogger(__name__)


def run(context: StepContext) -> None:
    """Trains the selector and measures it on labelled videos that it did not see.

    Raises:
        InputError: a label that does not fit what is staged, or no video left to train or to validate on.
    """
    config = context.config
    torch.set_num_threads(config.compute.threads)
    training, held_out = _labelled_videos(config)
    logger.info("%d labelled videos to train on, %d held out", len(training), len(held_out))
    model_directory, curves_file, metrics, picture = (
        context.work / name for name in ("model", "curves.csv", "metrics.json", "picture.png")
    )
    curves = Curves()
    log = TrainingLog("selector", curves, context.tracker.log_metrics)
    with open_engine(config.compute) as engine:
        from_first(context.work)
        model, trainer = _build_trainer(config, context.work, training, engine, Hooks(log), curves)
        trainer.run()
        shutil.rmtree(model_directory, ignore_errors=True)
        _save(model, trainer.trained, config.selector.model, model_directory)
        engine.forget()
        del model, trainer
        gc.collect()  # room for the models that judge it
        curves.write_artifact(curves_file)
        scored = score_held_out(
            held_out,
            selector=model_directory,
            keyframes=config.keyframes,
            propagation=config.propagate,
            memory=config.model.memory,
            compute=config.compute,
            seed=config.seed,
        )
        write_json({**validate(scored).to_json("families"), "num_videos": len(held_out)}, metrics)
        draw_selector_report(
            [ScoredTrack(item.text, item.family or "", item.scores, item.targets, item.jf) for item in scored], picture
        )
        context.publish_directory(model_directory, SELECTOR)
        context.publish_plain(metrics, SELECTOR_METRICS)
        context.publish_plain(picture, SELECTOR_PICTURE)
        context.publish_plain(curves_file, SELECTOR_CURVES)
        wait_for_all()


def _save(model: SelectorModel, trained: Collection[str], shape: SelectorModelConfig, directory: Path) -> None:
    """Saves the selector: whole where the labelling model stood in for its base, else without the base."""
    if shape.base is None:
        save_selector(model, merged_state_dict(model), directory)
        return
    tower = {"vision_tower": str(shape.vision_tower)} if is_published(Path(shape.base)) else {}
    save_trained_selector(model, trained, {"base": shape.base, **tower}, directory)


def _labelled_videos(config: Config) -> tuple[list[LabelledVideo], list[LabelledVideo]]:
    """Videos to train on and videos to validate on."""
    splits = {entry.split: open_split(config, entry.split) for entry in config.data.train}
    checkpoint = read_manifest(Path(config.pseudolabel.checkpoint)).extra["weights_sha256"]
    labelled = read_labels(PSEUDOLABELS, splits, checkpoint, absent_is_ideal=config.selector.absent_is_ideal)
    training, held_out = hold_out(labelled, config.selector.held_out, config.seed)
    if not held_out:
        raise InputError("selector.held_out: 0 leaves no labelled video to validate the selector on.")
    return training, held_out


def run_beside(config: Config) -> None:
    """What the other processes do that train together with the one that calls `run`."""
    torch.set_num_threads(config.compute.threads)
    with open_engine(config.compute) as engine:
        work = from_first(Path())
        training, _ = _labelled_videos(config)
        _, trainer = _build_trainer(config, work, training, engine, Hooks(), Curves())
        trainer.run()
        wait_for_all()


def _build_trainer(
    config: Config, work: Path, training: Sequence[LabelledVideo], engine: Engine, hooks: Hooks, curves: Curves
) -> tuple[SelectorModel, Trainer]:
    section = config.selector
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_untuned(section.model, config.pseudolabel.checkpoint)
        add_lora(model.language_model, section.model.lora)
    if config.compute.activation_checkpointing:
        checkpoint_activations(model.language_model.model.layers)
    weights = {entry.split: entry.weight for entry in config.data.train}
    phase = Phase(
        name="selector",
        steps=section.steps,
        accumulation=section.accumulation,
        samples=section.samples,
        optimiser=section.optimiser,
        parameters=select_parameters(model, section.trainable),
        batch=SelectorSampler(training, weights, section, model.tokenizer, model.image_processor, config.seed),
        loss=SelectorObjective(model, section.score_weight, section.ce_weight),
    )
    trainer = Trainer(
        model,
        [phase],
        engine=engine,
        checkpoints=Checkpoints(
            work / "checkpoints", every=section.checkpoint_every, keep=config.compute.keep_checkpoints
        ),
        log_every=section.log_every,
        seed=config.seed,
        compute=config.compute,
        hooks=hooks,
        state={"curves": curves},
    )
    return model, trainer
