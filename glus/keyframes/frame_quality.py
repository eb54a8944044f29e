"""How well each frame is segmented, against the ground truth: what pseudo-labels and oracle key frames are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from glus.config import ComputeConfig, MemoryConfig, PseudolabelConfig
from glus.execution.devices import resolve_device
from glus.inference.passes import PropagationSettings
from glus.inference.session import VideoSession
from glus.masks import iou
from glus.processing.staged_frames import staged_frames
from glus.records.split import Expression, StagedSplit, Video
from glus.weights.loading import load_model


@dataclass(frozen=True)
class FrameQuality:
    """What a model makes of the T frames of a video under B expressions.

    Attributes:
        iou: float64 [B, T], 0..1; 1 where target and prediction are both absent.
        target_present: bool [B, T].
        predicted_area_px: int64 [B, T].
        seg_token_generated: bool [B, T].
    """

    iou: np.ndarray
    target_present: np.ndarray
    predicted_area_px: np.ndarray
    seg_token_generated: np.ndarray


class LabellingModel:
    """The early-stop model (paper 4.4, B.4): segments from the first frame and is judged frame by frame.

    Args:
        labelling: which checkpoint, and whether with memory.
        memory: how many masks are remembered.
        compute: device, precision, threads.
    """

    def __init__(self, labelling: PseudolabelConfig, memory: MemoryConfig, compute: ComputeConfig) -> None:
        torch.set_num_threads(compute.threads)
        self._model = load_model(Path(labelling.checkpoint), dtype=compute.precision, device=resolve_device(compute))
        self._settings = PropagationSettings.of(labelling, memory, self._model)

    def judge(self, split: StagedSplit, video: Video, expressions: Sequence[Expression]) -> FrameQuality:
        """Segments a video under B expressions, of which the ground truth is staged."""
        session = VideoSession(self._model, staged_frames(split, video), self._settings)
        for expression in expressions:
            session.add(expression.text)
        shape = len(expressions), video.num_frames
        overlap, area = np.zeros(shape), np.zeros(shape, dtype=np.int64)
        present, generated = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        for frame in session:
            for row, (expression, mask) in enumerate(zip(expressions, frame.masks, strict=True)):
                target = split.target_masks(expression, [frame.index])[0]
                overlap[row, frame.index], area[row, frame.index] = iou(mask, target), mask.sum()
                present[row, frame.index] = target.any()
            generated[:, frame.index] = frame.seg_token_generated
        return FrameQuality(overlap, present, area, generated)
