"""A whole video and its sentences in, masks out: from the first frame, or both ways from a key frame (4.4, B.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, overload

import numpy as np
import torch

from glus.errors import InputError
from glus.inference.passes import PropagationSettings
from glus.inference.session import VideoSession
from glus.media.sources import Frames, open_frames
from glus.model.glus import GlusModel
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


@overload
def segment_video(
    model: GlusModel,
    frames: Frames,
    expressions: Sequence[str],
    *,
    selector: FrameScorer | None = ...,
    key_frame: int | Sequence[int] | None = ...,
    anchor: int | Sequence[int] | None = ...,
    use_memory: bool = ...,
    memory_stride: int = ...,
    window_stride: int = ...,
    dynamic_multimask: bool | None = ...,
    stream: Literal[False] = ...,
) -> SegmentationResult: ...
@overload
def segment_video(
    model: GlusModel,
    frames: Frames,
    expressions: Sequence[str],
    *,
    selector: FrameScorer | None = ...,
    key_frame: int | Sequence[int] | None = ...,
    anchor: int | Sequence[int] | None = ...,
    use_memory: bool = ...,
    memory_stride: int = ...,
    window_stride: int = ...,
    dynamic_multimask: bool | None = ...,
    stream: Literal[True],
) -> VideoSession: ...
def segment_video(  # noqa: PLR0913
    model: GlusModel,
    frames: Frames,
    expressions: Sequence[str],
    *,
    selector: FrameScorer | None = None,
    key_frame: int | Sequence[int] | None = None,
    anchor: int | Sequence[int] | None = None,
    use_memory: bool = True,
    memory_stride: int = 3,
    window_stride: int = 1,
    dynamic_multimask: bool | None = None,
    stream: bool = False,
) -> SegmentationResult | VideoSession:
    """Segments what each sentence refers to.

    Args:
        model: in evaluation mode.
        frames: PIL images, uint8 [T, H, W, 3], a folder of images, a video file, or frames that `open_frames` opened.
        expressions: B sentences.
        selector: chooses a key frame for each sentence; it holds what it sees of all frames.
        key_frame: where segmentation starts, both ways, one for all sentences or one for each; without it and without
            a selector, it starts from the first frame.
        anchor: an older name of `key_frame`.
        use_memory: read and write the memory bank.
        memory_stride: frames between strided memories; 3 in the paper (B.3).
        window_stride: frames that one window of query frames answers for; 1 in the paper (B.3). With s, the language
            model reads about 1 / s of the tokens; every answer is read where training reads it.
        dynamic_multimask: see `MaskBranch.decode`; by default what the weights need.
        stream: give frame after frame while they are made, in memory that does not grow with the video; false: give
            everything at the end.

    Returns:
        Everything; or a session, an iterator of `SegmentedFrame`: forward from the key frames, then backward.

    Raises:
        InputError: frames that `open_frames` refuses, a sentence that cannot be asked (`require_sentences`) or does not
            fit the language model, a key frame outside of the video, a selector and a key frame, a window stride beyond
            the window.
    """
    source = open_frames(frames)
    require_sentences(expressions, model.tokenizer.marks)
    if anchor is not None and key_frame is not None:
        raise InputError("segment_video takes key_frame or its older name anchor, not both.")
    starts = _key_frames(anchor if key_frame is None else key_frame, len(expressions))
    if selector is not None and starts is not None:
        raise InputError("segment_video takes a selector or a key frame, not both.")
    multimask = model.settings.dynamic_multimask if dynamic_multimask is None else dynamic_multimask
    settings = PropagationSettings(use_memory, memory_stride, multimask, window_stride=window_stride)
    session = VideoSession(model, source, settings)
    if selector is not None:
        starts = [int(row.argmax()) for row in selector.score(source, expressions)]
    for number, text in enumerate(expressions):
        session.add(text, key_frame=0 if starts is None else starts[number])
    return session if stream else _gather(model, session, starts or [0] * len(expressions))


def _key_frames(key_frame: int | Sequence[int] | None, num_expressions: int) -> list[int] | None:
    if key_frame is None:
        return None
    if isinstance(key_frame, (int, np.integer)):
        return [int(key_frame)] * num_expressions
    if len(key_frame) != num_expressions:
        raise InputError(f"key_frame: {len(key_frame)} key frames for {num_expressions} expressions.")
    return [int(frame) for frame in key_frame]


def _gather(model: GlusModel, session: VideoSession, key_frames: Sequence[int]) -> SegmentationResult:
    """All frames of a session whose sentences are numbered as the key frames."""
    shape = len(key_frames), session.num_frames
    width, height = session.size
    generated = np.zeros(shape, dtype=bool)
    masks = np.zeros((*shape, height, width), dtype=bool)
    logits = np.full((*shape, *model.masks.logit_size), np.nan, dtype=np.float32)
    embeddings = np.full((*shape, model.masks.sam2.hidden_dim), np.nan, dtype=np.float32)
    memory_frames: list[list[list[int]]] = [[[] for _ in range(shape[1])] for _ in range(shape[0])]
    for frame in session:
        rows, index = list(frame.numbers), frame.index
        masks[rows, index], logits[rows, index] = frame.masks, frame.logits
        embeddings[rows, index], generated[rows, index] = frame.seg_embeddings, frame.seg_token_generated
        for row, read in zip(rows, frame.memory_frame_indices, strict=True):
            memory_frames[row][index] = read
    return SegmentationResult(
        masks,
        logits,
        embeddings,
        generated,
        session.context_frames,
        memory_frames,
        np.asarray(key_frames, dtype=np.int64),
    )
