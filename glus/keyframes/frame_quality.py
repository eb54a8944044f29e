"""How well each frame is segmented, against the ground truth: what pseudo-labels and oracle key frames are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from glus.config import ComputeConfig, MemoryConfig, PseudolabelConfig
from glus.execution.devices import resolve_device
from glus.inference.encoder import VideoEncoder
from glus.inference.passes import PropagationSettings
from glus.inference.video import propagate
from glus.masks import iou
from glus.media.pictures import read_frame
from glus.records.split import StagedSplit
from glus.records.video import Expression, Video
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
        indices = range(video.num_frames)
        encoder = VideoEncoder(self._model, [read_frame(split.frame_path(video, index)) for index in indices])
        texts = [expression.text for expression in expressions]
        size = (video.width_px, video.height_px)
        result = propagate(encoder, texts, [0] * len(texts), self._settings, size=size)
        targets = [split.target_masks(expression, indices) for expression in expressions]
        tracks = zip(result.masks, targets, strict=True)
        return FrameQuality(
            np.array([[iou(*pair) for pair in zip(*track, strict=True)] for track in tracks]),
            np.stack([target.any(axis=(1, 2)) for target in targets]),
            result.masks.sum(axis=(2, 3)),
            result.seg_token_generated,
        )
