"""The phases of training GLUS, from parameters: alignment, image, tracking (only from scratch), clip (the paper's)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from glus.config import (
    ALIGNMENT_PARTS,
    IMAGE_PARTS,
    TRACKING_PARTS,
    GroundingConfig,
    MemoryConfig,
    ModelConfig,
    PhaseConfig,
    SingleQueryPhaseConfig,
    TrainConfig,
)
from glus.model.assembly import build_text_hidden_fcs
from glus.model.glus import GlusModel
from glus.records.split import StagedSplit
from glus.training.loop.phase import Phase
from glus.training.loop.sampling import Mixture
from glus.training.loop.trainable import select_parameters
from glus.training.segmentation.contrastive import TokenBank
from glus.training.segmentation.objectives import ClipObjective, TrackingObjective
from glus.training.segmentation.pretraining import AlignmentObjective, ImageObjective
from glus.training.segmentation.referents import Grounder
from glus.training.segmentation.samples import (
    BatchBuilder,
    ClipPhaseBatches,
    SingleQueryBatches,
    TrackingPhaseBatches,
)

logger = logging.getLogger(__name__)

Splits = Sequence[tuple[StagedSplit, float]]  # with how often each is drawn


def build_phases(
    model: GlusModel, splits: Splits, bank: TokenBank, *, train: TrainConfig, shape: ModelConfig, seed: int
) -> list[Phase]:
    """The phases that have steps, in order.

    Args:
        model: what is trained.
        splits: staged splits, and how often each is drawn.
        bank: tokens of earlier steps, for the contrastive loss.
        train: steps, losses and optimisers.
        shape: numbers of frames, and how they are remembered.
        seed: of all that is drawn.
    """
    phases = []
    if train.alignment.steps:
        phases.append(_alignment_phase(model, splits, train, seed))
    if train.image.steps:
        phases.append(_image_phase(model, splits, train, seed))
    if train.tracking.steps:
        phases.append(_tracking_phase(model, splits, train, shape.memory, seed))
    if train.clip.steps:
        phases.append(_clip_phase(model, splits, bank, train=train, shape=shape, seed=seed))
    return [replace(phase, global_mean=train.loss_mean == "global") for phase in phases]


def _mixture(name: str, phase: PhaseConfig, splits: Splits, min_frames: int) -> Mixture:
    mixture = Mixture(splits, phase.families, min_frames=min_frames)
    if mixture.num_too_short:
        logger.info("%s: videos of fewer than %d frames are left out (%d)", name, min_frames, mixture.num_too_short)
    return mixture


def _builder(model: GlusModel, grounding: GroundingConfig, *, sum_annotations: bool = False) -> BatchBuilder:
    tokenizer, per_frame = model.tokenizer, model.mllm.tokens_per_frame
    ground = Grounder(grounding, tokenizer, model.mllm.num_patches, per_frame) if grounding.families else None
    return BatchBuilder(tokenizer, model.transform, per_frame, sum_annotations=sum_annotations, ground=ground)


def _single_query_batches(
    name: str, model: GlusModel, splits: Splits, train: TrainConfig, seed: int
) -> SingleQueryBatches:
    phase: SingleQueryPhaseConfig = getattr(train, name)
    return SingleQueryBatches(
        name,
        _mixture(name, phase, splits, min_frames=1),
        _builder(model, train.grounding),
        seed,
        phase.samples,
        phase.num_context_frames,
        phase.max_expressions,
        train.vary_conversation,
    )


def _alignment_phase(model: GlusModel, splits: Splits, train: TrainConfig, seed: int) -> Phase:
    batches = _single_query_batches("alignment", model, splits, train, seed)
    objective = AlignmentObjective(model, train.alignment.word_prediction)
    return _phase("alignment", train.alignment, model, ALIGNMENT_PARTS, batches, objective)


def _image_phase(model: GlusModel, splits: Splits, train: TrainConfig, seed: int) -> Phase:
    batches = _single_query_batches("image", model, splits, train, seed)
    objective = ImageObjective(model, train.loss, train.image.word_prediction)
    return _phase("image", train.image, model, IMAGE_PARTS, batches, objective)


def _tracking_phase(model: GlusModel, splits: Splits, train: TrainConfig, memory: MemoryConfig, seed: int) -> Phase:
    phase = train.tracking
    batches = TrackingPhaseBatches(
        _mixture("tracking", phase, splits, min_frames=phase.num_frames),
        model.transform,
        seed,
        phase.samples,
        phase.num_frames,
        phase.max_expressions,
    )
    objective = TrackingObjective(model, train.loss, memory)
    return _phase("tracking", phase, model, TRACKING_PARTS, batches, objective)


def _clip_phase(
    model: GlusModel, splits: Splits, bank: TokenBank, *, train: TrainConfig, shape: ModelConfig, seed: int
) -> Phase:
    phase = train.clip
    batches = ClipPhaseBatches(
        _mixture("clip", phase, splits, min_frames=shape.num_query_frames),
        _builder(model, train.grounding, sum_annotations=phase.sum_annotations),
        seed,
        phase.samples,
        shape.num_context_frames,
        shape.num_query_frames,
        phase.max_expressions,
        phase.reverse,
        phase.into_grey,
        train.vary_conversation,
    )
    memory = shape.memory if phase.use_memory else None
    objective = ClipObjective(model, train.loss, train.contrastive, memory, bank)
    clip = replace(_phase("clip", phase, model, train.trainable, batches, objective), end_step=objective.end_step)
    if phase.fresh_text_hidden_fcs:
        return replace(clip, start=partial(_draw_text_hidden_fcs, model, seed))
    return clip


def _draw_text_hidden_fcs(model: GlusModel, seed: int) -> dict[str, Tensor]:
    """Weights by which the [SEG] projector starts anew, with torch's default initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_text_hidden_fcs(model.language_model.config.hidden_size, model.masks.sam2.hidden_dim)
    return {f"text_hidden_fcs.{name}": weight for name, weight in fresh.state_dict().items()}


def _phase(
    name: str,
    config: PhaseConfig,
    model: GlusModel,
    parts: Iterable[str],
    batches: Callable[[int], Any],
    objective: Callable[[Any], dict[str, Tensor]],
) -> Phase:
    return Phase(
        name,
        config.steps,
        config.accumulation,
        config.samples,
        config.optimiser,
        select_parameters(model, parts),
        batches,
        objective,
    )
