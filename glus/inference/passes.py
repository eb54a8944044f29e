"""One video, many expressions: prompts from a sliding window, masks frame after frame through memory (4.1, B.3).

Shapes: T frames, B expressions, W frames of a pass, P visual tokens per frame, D language width, C decoder width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glus.config import MemoryConfig, PropagateConfig, PseudolabelConfig
from glus.inference.encoder import (
    VideoEncoder,
    seg_embeddings,
)
from glus.model.glus import GlusModel
from glus.model.memory import MemoryBank
from glus.model.sam2 import Memory


@dataclass(frozen=True)
class PropagationSettings:
    """How a video is segmented.

    Attributes:
        use_memory: read and write the memory bank.
        memory_stride: frames between strided memories; 3 (B.3).
        dynamic_multimask: see `MaskBranch.decode`; what released weights need.
    """

    use_memory: bool = True
    memory_stride: int = 3
    dynamic_multimask: bool = True
    max_strided: int = 6

    @classmethod
    def of(
        cls, section: PropagateConfig | PseudolabelConfig, memory: MemoryConfig, model: GlusModel
    ) -> PropagationSettings:
        """Those of `params.yaml`, and what the weights need."""
        return cls(section.use_memory, section.memory_stride, model.settings.dynamic_multimask, memory.max_strided)


@dataclass(frozen=True)
class PassResult:
    """What one pass over W frames gives for B expressions.

    Attributes:
        logits: float [B, W, h, w]; NaN where [SEG] was not generated.
        seg_embeddings: float [B, W, C]; NaN where [SEG] was not generated.
        seg_token_generated: bool [B, W].
        memory_frames: for each expression and frame, indices within the pass that were read from memory.
    """

    logits: Tensor
    seg_embeddings: Tensor
    seg_token_generated: Tensor
    memory_frames: list[list[list[int]]]


@torch.inference_mode()
def run_pass(
    video: VideoEncoder, expressions: Sequence[str], frames: Sequence[int], settings: PropagationSettings
) -> PassResult:
    """Segments frames in the given order, each expression with a memory bank of its own.

    Args:
        frames: W video indices in the order of the pass (forward or backward from the key frame).
    """
    embeddings, generated = seg_embeddings(video, expressions, frames)
    banks = [MemoryBank(settings.memory_stride, settings.max_strided) for _ in expressions]
    model = video.model
    size = video.features(frames[0]).logit_size
    logits = torch.full((len(expressions), len(frames), *size), torch.nan, device=model.device)
    read: list[list[list[int]]] = [[] for _ in expressions]
    for step, frame in enumerate(frames):
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, bank in enumerate(banks):
            remembered = bank.frames_for(step) if settings.use_memory else []
            hit = bool(generated[row, step])
            read[row].append(remembered if hit else [])
            if hit:
                groups.setdefault(tuple(remembered), []).append(row)
        for rows in groups.values():
            memories = _stack([banks[row].read(step) for row in rows]) if settings.use_memory else []
            features = video.features(frame)[[0] * len(rows)]
            decoded, memory = model.masks.segment_frame(
                features, embeddings[rows, step], memories, settings.dynamic_multimask
            )
            logits[rows, step] = decoded.logits
            for number, row in enumerate(rows):
                banks[row].write(step, memory[number : number + 1])
    return PassResult(logits, embeddings, generated, read)


def _stack(memories: Sequence[Sequence[Memory]]) -> list[Memory]:
    """Memories of some expressions, each a list over frames, as one list over frames."""
    return [
        Memory(torch.cat([item.features for item in frame]), torch.cat([item.position for item in frame]))
        for frame in zip(*memories, strict=True)
    ]
