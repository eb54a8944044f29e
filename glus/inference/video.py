"""A whole video and its sentences in, masks out: from the first frame, or both ways from a key frame (4.4, B.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from glus.errors import InputError
from glus.inference.encoder import VideoEncoder
from glus.inference.passes import PassResult, PropagationSettings, run_pass
from glus.media.sources import Frames, open_frames
from glus.model.glus import GlusModel
from glus.model.sam2 import resize_logits
from glus.processing.sentences import require_sentences


class FrameScorer(Protocol):
    """What chooses key frames; `glus.KeyFrameSelector` is one."""

    def score(self, frames: Frames, expressions: Sequence[str]) -> torch.Tensor:
        """A score for every frame and expression, float [B, T]; the best frame is the key frame."""


@dataclass(frozen=True)
class SegmentationResult:
    """Masks of B expressions over the T frames of a video.

    Attributes:
        masks: bool [B, T, H, W]; blank where [SEG] was not generated.
        logits: float32 [B, T, h, w], the decoder's low-resolution output; NaN where [SEG] was not generated.
        seg_embeddings: float32 [B, T, C], the prompts given to the decoder; NaN where [SEG] was not generated.
        seg_token_generated: bool [B, T].
        context_frame_indices: int [Nc].
        memory_frame_indices: for each expression and frame, the video's frames that were read from the memory bank.
        key_frame_index: int [B], the frame that segmentation started from.
    """

    masks: np.ndarray
    logits: np.ndarray
    seg_embeddings: np.ndarray
    seg_token_generated: np.ndarray
    context_frame_indices: list[int]
    memory_frame_indices: list[list[list[int]]]
    key_frame_index: np.ndarray


def segment_video(
    model: GlusModel,
    frames: Frames,
    expressions: Sequence[str],
    *,
    selector: FrameScorer | None = None,
    anchor: int | Sequence[int] | None = None,
    use_memory: bool = True,
    memory_stride: int = 3,
    dynamic_multimask: bool | None = None,
) -> SegmentationResult:
    """Segments what each sentence refers to.

    Args:
        model: in evaluation mode.
        frames: PIL images, uint8 [T, H, W, 3], a folder of images or a video file.
        expressions: B sentences.
        selector: chooses a key frame for each expression.
        anchor: the key frame, one for all expressions or one for each; without it and without a selector,
            segmentation starts from the first frame.
        use_memory: read and write the memory bank.
        memory_stride: frames between strided memories; 3 in the paper (B.3).
        dynamic_multimask: see `MaskBranch.decode`; by default what the weights need.

    Raises:
        InputError: no frames, a sentence that cannot be asked (`require_sentences`), an anchor outside of the video, a
            selector and an anchor.
    """
    images = open_frames(frames)
    require_sentences(expressions, model.tokenizer.marks)
    if selector is not None and anchor is not None:
        raise InputError("segment_video takes a selector or an anchor, not both.")
    if selector is not None:
        anchors = [int(row.argmax()) for row in selector.score(images, expressions)]
    else:
        anchors = _anchors(anchor, len(expressions))
    for index in anchors:
        if not 0 <= index < len(images):
            raise InputError(f"anchor {index} is outside of the video, which has frames 0 to {len(images) - 1}.")
    multimask = model.settings.dynamic_multimask if dynamic_multimask is None else dynamic_multimask
    settings = PropagationSettings(use_memory, memory_stride, multimask)
    return propagate(VideoEncoder(model, images), expressions, anchors, settings, size=images[0].size)


def _anchors(anchor: int | Sequence[int] | None, num_expressions: int) -> list[int]:
    if anchor is None or isinstance(anchor, int):
        return [anchor or 0] * num_expressions
    if len(anchor) != num_expressions:
        raise InputError(f"anchor: {len(anchor)} key frames for {num_expressions} expressions.")
    return list(anchor)


def propagate(
    video: VideoEncoder,
    expressions: Sequence[str],
    anchors: Sequence[int],
    settings: PropagationSettings,
    size: tuple[int, int],
) -> SegmentationResult:
    """Forward from each expression's key frame to the end, then backward to the start, each with its own memory.

    Args:
        anchors: key frame of each expression.
        size: width and height of the masks, pixels.
    """
    collected = _Collector(video, len(expressions), size)
    for anchor in sorted(set(anchors)):
        rows = [row for row, other in enumerate(anchors) if other == anchor]
        texts = [expressions[row] for row in rows]
        for frames in pass_frames(video.num_frames, anchor):
            collected.add(rows, frames, run_pass(video, texts, frames, settings))
    return collected.result(video.context_frames, anchors)


def pass_frames(num_frames: int, anchor: int) -> list[list[int]]:
    """Frames of each pass in the order that they are decoded: forward and, where there is anything, backward."""
    forward, backward = list(range(anchor, num_frames)), list(range(anchor, -1, -1))
    return [forward, backward] if anchor > 0 else [forward]


class _Collector:
    """Gathers passes into one result; a frame that two passes decode keeps the later one, as published."""

    def __init__(self, video: VideoEncoder, num_expressions: int, size: tuple[int, int]) -> None:
        first = video.features(0)
        shape = (num_expressions, video.num_frames)
        width, height = size
        self.masks = np.zeros((*shape, height, width), dtype=bool)
        self.logits = np.full((*shape, *first.logit_size), np.nan, dtype=np.float32)
        self.embeddings = np.full((*shape, first.stride16.shape[1]), np.nan, dtype=np.float32)
        self.generated = np.zeros(shape, dtype=bool)
        self.memory_frames: list[list[list[int]]] = [[[] for _ in range(shape[1])] for _ in range(shape[0])]

    def add(self, rows: Sequence[int], frames: Sequence[int], result: PassResult) -> None:
        """Stores one pass over `frames` for some of the expressions."""
        height, width = self.masks.shape[-2:]
        for number, row in enumerate(rows):
            full = torch.nan_to_num(resize_logits(result.logits[number], height, width), nan=-1.0)
            self.masks[row, frames] = (full > 0).cpu().numpy()
            self.logits[row, frames] = result.logits[number].float().cpu().numpy()
            self.embeddings[row, frames] = result.seg_embeddings[number].float().cpu().numpy()
            self.generated[row, frames] = result.seg_token_generated[number].cpu().numpy()
            for step, frame in enumerate(frames):
                self.memory_frames[row][frame] = [frames[index] for index in result.memory_frames[number][step]]

    def result(self, context_frames: list[int], anchors: Sequence[int]) -> SegmentationResult:
        """Everything gathered."""
        return SegmentationResult(
            self.masks,
            self.logits,
            self.embeddings,
            self.generated,
            context_frames,
            self.memory_frames,
            np.asarray(anchors, dtype=np.int64),
        )
