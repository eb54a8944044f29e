"""The phases of training GLUS, from parameters: image, tracking (both only from scratch), clip (the paper's)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from glus.config import IMAGE_PARTS, TRACKING_PARTS, Config, PhaseConfig
from glus.model.assembly import build_text_hidden_fcs
from glus.model.glus import GlusModel
from glus.records.split import StagedSplit
from glus.training.loop.phase import Phase
from glus.training.loop.sampling import Mixture
from glus.training.loop.trainable import select_parameters
from glus.training.segmentation.contrastive import TokenBank
from glus.training.segmentation.objectives import ClipObjective, ImageObjective, TrackingObjective
from glus.training.segmentation.samples import BatchBuilder, ClipPhaseBatches, ImagePhaseBatches, TrackingPhaseBatches


def build_phases(
    model: GlusModel, config: Config, splits: list[tuple[StagedSplit, float]], bank: TokenBank
) -> list[Phase]:
    """The phases that have steps, in order."""
    phases = [
        _image_phase(model, config, splits),
        _tracking_phase(model, config, splits),
        _clip_phase(model, config, splits, bank),
    ]
    return [phase for phase in phases if phase is not None]


def _builder(model: GlusModel, *, sum_annotations: bool = False) -> BatchBuilder:
    return BatchBuilder(model.tokenizer, model.transform, model.mllm.tokens_per_frame, sum_annotations=sum_annotations)


def _image_phase(model: GlusModel, config: Config, splits: list[tuple[StagedSplit, float]]) -> Phase | None:
    phase = config.train.image
    if not phase.steps:
        return None
    batches = ImagePhaseBatches(
        Mixture(splits, phase.families, min_frames=1),
        _builder(model),
        config.seed,
        phase.samples,
        phase.max_expressions,
        config.train.vary_conversation,
    )
    return _phase("image", phase, model, IMAGE_PARTS, batches, ImageObjective(model, config.train.loss, phase.recall))


def _tracking_phase(model: GlusModel, config: Config, splits: list[tuple[StagedSplit, float]]) -> Phase | None:
    phase = config.train.tracking
    if not phase.steps:
        return None
    batches = TrackingPhaseBatches(
        Mixture(splits, phase.families, min_frames=phase.num_frames),
        model.transform,
        config.seed,
        phase.samples,
        phase.num_frames,
        phase.max_expressions,
    )
    objective = TrackingObjective(model, config.train.loss, config.model.memory)
    return _phase("tracking", phase, model, TRACKING_PARTS, batches, objective)


def _clip_phase(
    model: GlusModel, config: Config, splits: list[tuple[StagedSplit, float]], bank: TokenBank
) -> Phase | None:
    phase = config.train.clip
    if not phase.steps:
        return None
    batches = ClipPhaseBatches(
        Mixture(splits, phase.families, min_frames=config.model.num_query_frames),
        _builder(model, sum_annotations=phase.sum_annotations),
        config.seed,
        phase.samples,
        config.model.num_context_frames,
        config.model.num_query_frames,
        phase.max_expressions,
        phase.reverse,
        phase.into_grey,
        config.train.vary_conversation,
    )
    objective = ClipObjective(model, config.train.loss, config.train.contrastive, config.model.memory, bank)
    clip = replace(
        _phase("clip", phase, model, config.train.trainable, batches, objective), end_step=objective.end_step
    )
    if phase.fresh_text_hidden_fcs:
        return replace(clip, start=partial(_draw_text_hidden_fcs, model, config.seed))
    return clip


def _draw_text_hidden_fcs(model: GlusModel, seed: int) -> None:
    """Starts the [SEG] projector anew with torch's default initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_text_hidden_fcs(model.language_model.config.hidden_size, model.masks.sam2.hidden_dim)
    model.text_hidden_fcs.load_state_dict(fresh.state_dict())


def _phase(
    name: str,
    config: PhaseConfig,
    model: GlusModel,
    parts: Iterable[str],
    batches: Callable[[int], Any],
    objective: Callable[[Any], dict[str, Tensor]],
) -> Phase:
    return Phase(
        name, config.steps, config.accumulation, config.optimiser, select_parameters(model, parts), batches, objective
    )
