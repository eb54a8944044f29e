"""What selected key frames are worth on labelled videos that the selector did not see: scores, then J&F from each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from glus.config import ComputeConfig, KeyframesConfig, MemoryConfig, PropagateConfig
from glus.execution.devices import resolve_device
from glus.execution.processes import map_in_processes
from glus.execution.progress import show_progress
from glus.inference.passes import PropagationSettings
from glus.inference.session import VideoSession
from glus.keyframes.sources import drawn_frame
from glus.metrics.boundary import boundary_f
from glus.metrics.by_key_frame import ByKeyFrame
from glus.metrics.region import jaccard
from glus.paths import FINAL_MODEL
from glus.processing.staged_frames import staged_frames
from glus.selector.scoring import score_frames
from glus.training.selector.labels import LabelledVideo
from glus.training.selector.validation import ScoredExpression, select_key_frame
from glus.weights.loading import load_model
from glus.weights.selector_loading import load_selector_model

KeyFrames = dict[str, list[int]]  # which of `ByKeyFrame` -> frame of each expression


def score_held_out(
    held_out: Sequence[LabelledVideo],
    *,
    selector: Path,
    keyframes: KeyframesConfig,
    propagation: PropagateConfig,
    memory: MemoryConfig,
    compute: ComputeConfig,
    seed: int,
) -> list[ScoredExpression]:
    """Scores held-out videos as `keyframes` does, and segments them as `propagate` does from four key frames each.

    Args:
        held_out: labelled videos.
        selector: folder of the trained selector.
        keyframes: how many frames are read together.
        propagation: whether masks are remembered, and how many frames apart.
        memory: how many masks are remembered.
        compute: device, precision, processes.
        seed: of the key frames that are drawn.
    """
    total = len(held_out)
    scoring = map_in_processes(partial(_Scorer, selector, keyframes, compute), held_out, compute.processes)
    tracks = list(show_progress(scoring, "selector: held-out videos scored", total=total))
    chosen = [key_frames(labelled, scores, seed) for labelled, scores in zip(held_out, tracks, strict=True)]
    tasks = zip(held_out, chosen, strict=True)
    propagating = map_in_processes(partial(_Propagator, propagation, memory, compute), tasks, compute.processes)
    worth = list(show_progress(propagating, "selector: held-out videos segmented from key frames", total=total))
    return [
        ScoredExpression(
            expression.family,
            expression.text,
            track,
            targets,
            ByKeyFrame(**{source: jf[number] for source, jf in of_video.items()}),
        )
        for labelled, scores, of_video in zip(held_out, tracks, worth, strict=True)
        for number, (expression, track, targets) in enumerate(
            zip(labelled.expressions, scores, labelled.targets, strict=True)
        )
    ]


def key_frames(labelled: LabelledVideo, scores: np.ndarray, seed: int) -> KeyFrames:
    """The first, a drawn, the selected and the best labelled frame, for each expression.

    Args:
        scores: float [B, T].
    """
    num_frames = labelled.video.num_frames
    names = [f"{labelled.name}/{expression.expression_id}" for expression in labelled.expressions]
    return {
        "first": [0] * len(names),
        "random": [drawn_frame(name, seed, num_frames) for name in names],
        "selected": [select_key_frame(track) for track in scores],
        "oracle": [select_key_frame(track) for track in labelled.targets],
    }


class _Scorer:
    """The trained selector in one process: a held-out video -> scores, float [B, T]."""

    def __init__(self, selector: Path, section: KeyframesConfig, compute: ComputeConfig) -> None:
        torch.set_num_threads(compute.threads)
        self._selector = load_selector_model(selector, dtype=compute.precision, device=resolve_device(compute))
        self._section = section

    def __call__(self, labelled: LabelledVideo) -> np.ndarray:
        return score_frames(
            self._selector,
            staged_frames(labelled.split, labelled.video),
            [expression.text for expression in labelled.expressions],
            max_context_frames=self._section.max_context_frames,
            batch=self._section.batch,
        ).numpy()


class _Propagator:
    """The final model in one process: a held-out video and its key frames -> J&F by source and expression, percent."""

    def __init__(self, section: PropagateConfig, memory: MemoryConfig, compute: ComputeConfig) -> None:
        torch.set_num_threads(compute.threads)
        self._model = load_model(FINAL_MODEL, dtype=compute.precision, device=resolve_device(compute))
        self._settings = PropagationSettings.of(section, memory, self._model)

    def __call__(self, task: tuple[LabelledVideo, KeyFrames]) -> dict[str, list[float]]:
        labelled, chosen = task
        pairs = sorted({pair for frames in chosen.values() for pair in enumerate(frames)})  # sources often agree
        session = VideoSession(self._model, staged_frames(labelled.split, labelled.video), self._settings)
        for number, key_frame in pairs:
            session.add(labelled.expressions[number].text, key_frame=key_frame)
        worth = dict.fromkeys(pairs, 0.0)
        for frame in session:
            for row, mask in zip(frame.numbers, frame.masks, strict=True):
                target = labelled.split.target_masks(labelled.expressions[pairs[row][0]], [frame.index])
                worth[pairs[row]] += _jf(mask[None], target) / session.num_frames
        return {source: [worth[pair] for pair in enumerate(frames)] for source, frames in chosen.items()}


def _jf(masks: np.ndarray, targets: np.ndarray) -> float:
    """J&F in percent, bool [T, H, W]."""
    return 50 * float(jaccard(masks, targets).mean() + boundary_f(masks, targets).mean())
