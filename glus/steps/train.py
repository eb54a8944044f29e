"""Step 2, paper 4.1 to 4.3, B.2: trains GLUS and keeps the early-stop checkpoint."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from glus.config import Config, ModelConfig
from glus.errors import InputError
from glus.files import write_json
from glus.manifest import MANIFEST, write_manifest
from glus.model.checkpointing import checkpoint_activations
from glus.model.glus import GlusModel, GlusSettings
from glus.model.lora import add_lora, merged_state_dict
from glus.model.scratch import build_from_scratch
from glus.paths import FINAL_MODEL, MODELS, TRAINING_CURVES, TRAINING_METRICS, checkpoint
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.processing.conversation import conversation_texts
from glus.processing.selector_conversation import selector_texts
from glus.processing.sentences import IM_END, IM_START, SEG, taught_to_glus
from glus.processing.tokenizer import LlamaSentencePiece, train_tokenizer
from glus.publishing import sync
from glus.records.split import StagedSplit
from glus.training.loop.checkpoints import Checkpoints
from glus.training.loop.curves import Curves, TrainingLog
from glus.training.loop.engine import Engine, open_engine
from glus.training.loop.group import from_first, wait_for_all
from glus.training.loop.pace import PACE
from glus.training.loop.phase import Hooks
from glus.training.loop.trainer import Trainer
from glus.training.segmentation.contrastive import TokenBank
from glus.training.segmentation.phases import build_phases
from glus.weights.bases import weights_sha256
from glus.weights.lisa import build_from_lisa, is_lisa
from glus.weights.loading import load_model
from glus.weights.released import is_released
from glus.weights.saved import save_glus, save_trained_glus, write_model_card

logger = logging.getLogger(__name__)


def run(context: StepContext) -> None:
    """Trains all phases, resuming from the last checkpoint, and publishes both models, the curves and the metrics."""
    config, curves, models = context.config, Curves(), context.work / "models"
    kept = config.train.steps_to_keep

    def on_step(step: int) -> None:
        if step in kept:
            save_checkpoint(context, model, trainer.trained, step, checkpoint(step, models))

    _go_back_before_lost_models(config, context.work, models)
    log = TrainingLog("train", curves, context.tracker.log_metrics)
    with open_engine(config.compute) as engine:
        from_first(context.work)
        model, trainer = build_trainer(config, context.work, engine, Hooks(log, on_step, kept), curves)
        trainer.run()
        save_checkpoint(context, model, trainer.trained, config.train.total_steps, models / FINAL_MODEL.name)
        curves.write_artifact(context.work / "curves.csv")
        write_json(summary(curves, model, config), context.work / "train.json")
        context.publish_plain(context.work / "curves.csv", TRAINING_CURVES)
        context.publish_plain(context.work / "train.json", TRAINING_METRICS)
        context.publish_directory(models, MODELS)
        wait_for_all()


def _go_back_before_lost_models(config: Config, work: Path, models: Path) -> None:
    """Drops states from beyond a step whose kept model is gone: only training brings it back."""
    states = checkpoints(config, work)
    for step in config.train.steps_to_keep:
        if not (checkpoint(step, models) / MANIFEST).is_file() and max(states.steps(), default=0) >= step:
            logger.warning(
                "train: the model after step %d of the interrupted run is gone, so that training goes back before it",
                step,
            )
            states.drop_from(step)


def run_beside(config: Config) -> None:
    """What the other processes do that train together with the one that calls `run`."""
    with open_engine(config.compute) as engine:
        work = from_first(Path())
        hooks = Hooks(whole_at=config.train.steps_to_keep)
        _, trainer = build_trainer(config, work, engine, hooks, Curves())
        trainer.run()
        wait_for_all()


def checkpoints(config: Config, work: Path) -> Checkpoints:
    """The states that an interrupted run left below `work`."""
    keep = config.compute.keep_checkpoints
    return Checkpoints(work / "checkpoints", every=config.train.checkpoint_every, keep=keep)


def build_trainer(
    config: Config, work: Path, engine: Engine, hooks: Hooks, curves: Curves
) -> tuple[GlusModel, Trainer]:
    """The model with its adapters, and what trains it through all phases; checkpoints go to `work`."""
    torch.set_num_threads(config.compute.threads)
    splits = [(open_split(config, entry.split), entry.weight) for entry in config.data.train]
    torch.manual_seed(config.seed)  # the adapters draw their start from it
    model = build_model(config, splits)
    add_lora(model.language_model, config.model.lora)
    if config.compute.activation_checkpointing:
        checkpoint_activations(model.deep_layers)
    bank = TokenBank(config.train.contrastive.bank_size)
    trainer = Trainer(
        model,
        build_phases(model, splits, bank, train=config.train, shape=config.model, seed=config.seed),
        engine=engine,
        checkpoints=checkpoints(config, work),
        log_every=config.train.log_every,
        seed=config.seed,
        compute=config.compute,
        hooks=hooks,
        state={"bank": bank, "curves": curves},
    )
    return model, trainer


def build_model(config: Config, splits: list[tuple[StagedSplit, float]]) -> GlusModel:
    """The model that training starts from: a saved one, or one of the given shapes with fresh weights."""
    if config.model.base is not None:
        return _load_base(config)
    expressions = {
        taught_to_glus(expression.text)
        for split, _ in splits
        for expressions in split.expressions.values()
        for expression in expressions
    }
    tokenizer = train_tokenizer(
        [*conversation_texts(), *selector_texts(), *expressions], config.model.language.vocabulary
    )
    return build_from_scratch(config.model, with_glus_tokens(tokenizer), config.seed)


def _load_base(config: Config) -> GlusModel:
    model, settings = config.model, GlusSettings.of(config.model)
    base = Path(str(model.base))
    if is_released(base) and is_lisa(base):
        if model.vision_tower is None or model.sam2_weights is None:
            raise InputError(f"model.base: {base} is LISA; name model.vision_tower and model.sam2_weights beside it.")
        return build_from_lisa(
            base,
            vision_tower=Path(model.vision_tower),
            sam2_config=model.sam2_config,
            sam2_weights=Path(model.sam2_weights),
            settings=settings,
            seed=config.seed,
        ).model
    glus = load_model(base, dtype=None, vision_tower=model.vision_tower, sam2_config=model.sam2_config)
    glus.use(settings)
    return glus


def with_glus_tokens(tokenizer: LlamaSentencePiece) -> LlamaSentencePiece:
    """Adds the tokens of GLUS, in the published order."""
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    return tokenizer


def save_checkpoint(context: StepContext, model: GlusModel, trained: Collection[str], step: int, target: Path) -> None:
    """Saves the model as an artifact of its own: whole where it was trained from nothing, else without its base."""
    partial = target.with_name(f".{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    base = base_paths(context.config.model)
    if base:
        save_trained_glus(model, trained, base, partial)
    else:
        save_glus(model, merged_state_dict(model), partial)
    write_model_card(partial, {**base, "Training steps": str(step)})
    write_manifest(
        partial,
        step="train",
        parameters=context.config.parameters(context.step.parameters),
        inputs=context.inputs,
        extra={"checkpoint_step": step, "weights_sha256": weights_sha256(partial)},
    )
    sync(partial)  # states of later steps are, and training goes on from them
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def base_paths(model: ModelConfig) -> dict[str, str]:
    """What a checkpoint is trained from, by part; empty where it starts from nothing."""
    if model.base is None:
        return {}
    if not is_released(Path(model.base)):
        return {"base": model.base}
    parts = {"base": model.base, "vision_tower": str(model.vision_tower)}
    return parts | ({"sam2_weights": str(model.sam2_weights)} if is_lisa(Path(model.base)) else {})


def summary(curves: Curves, model: GlusModel, config: Config) -> dict[str, Any]:
    """Mean losses of the last log interval of each phase, and the size of the model."""
    apart = ("step", "phase", *PACE)
    last = {row["phase"]: {name: row[name] for name in row if name not in apart} for row in curves.rows}
    return {
        "steps": config.train.total_steps,
        "parameters": sum(value.numel() for name, value in model.state_dict().items() if ".lora_" not in name),
        "last": last,
    }
