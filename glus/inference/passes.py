"""One pass over a video: masks frame after frame through memory, for all sentences that start together (4.2, B.3).

Shapes: W frames of a pass, B sentences, C decoder width, h w low-resolution logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from glus.config import MemoryConfig, PropagateConfig, PseudolabelConfig
from glus.inference.encoder import VideoEncoder
from glus.inference.prompts import PromptReader
from glus.inference.state import SessionState
from glus.model.glus import GlusModel
from glus.model.memory import MemoryBank
from glus.model.sam2 import Memory


@dataclass(frozen=True)
class PropagationSettings:
    """How a sentence is segmented.

    Attributes:
        use_memory: read and write the memory bank.
        memory_stride: frames between strided memories; 3 (B.3).
        dynamic_multimask: see `MaskBranch.decode`; what released weights need.
        max_strided: memories beside that of the previous frame; 6 (B.3).
        window_stride: frames that a window of query frames answers for; 1 (B.3).
        tracker: what carries masks on from the key frame (Table 6); None: GLUS, which speaks at every frame.
    """

    use_memory: bool = True
    memory_stride: int = 3
    dynamic_multimask: bool = True
    max_strided: int = 6
    window_stride: int = 1
    tracker: Tracking | None = None

    @classmethod
    def of(
        cls, section: PropagateConfig | PseudolabelConfig, memory: MemoryConfig, model: GlusModel
    ) -> PropagationSettings:
        """Those of `params.yaml`, and what the weights need."""
        return cls(
            section.use_memory,
            section.memory_stride,
            model.settings.dynamic_multimask,
            memory.max_strided,
            section.window_stride,
        )


class MaskTracker(Protocol):
    """Carries masks from a key frame over the other frames of a pass: B objects, each by itself."""

    def begin(self, frame: int, logits: Tensor) -> None:
        """Takes the masks of the key frame: float [B, h, w], above 0 where the object is."""

    def follow(self, frame: int) -> Tensor:
        """Mask logits of the next frame of the pass, float [B, h, w]."""


Tracking = Callable[[VideoEncoder, PropagationSettings], MaskTracker]  # a tracker for each pass over a video


@dataclass
class Track:
    """One sentence in one pass, which begins without memories.

    Attributes:
        number: of the sentence in its session.
        expression: the sentence.
        settings: see there.
        bank: the memories of this pass.
    """

    number: int
    expression: str
    settings: PropagationSettings
    bank: MemoryBank = field(init=False)

    def __post_init__(self) -> None:
        self.bank = MemoryBank(self.settings.memory_stride, self.settings.max_strided)

    def remembered(self, step: int) -> tuple[int, ...]:
        """Steps of the pass that are read from memory."""
        return tuple(self.bank.frames_for(step)) if self.settings.use_memory else ()


@dataclass(frozen=True)
class StepResult:
    """What a pass gives for one frame and the B sentences that are in it.

    Attributes:
        frame: index in the video.
        numbers: of the sentences.
        logits: float [B, h, w]; NaN where [SEG] was not generated.
        seg_embeddings: float [B, C]; NaN where [SEG] was not generated.
        seg_token_generated: for each sentence.
        memory_frames: for each sentence, frames of the video that were read from memory.
    """

    frame: int
    numbers: list[int]
    logits: Tensor
    seg_embeddings: Tensor
    seg_token_generated: list[bool]
    memory_frames: list[list[int]]


def pass_frames(num_frames: int, key_frame: int) -> list[range]:
    """Frames of each pass in the order that they are segmented: forward and, where there is anything, backward."""
    forward, backward = range(key_frame, num_frames), range(key_frame, -1, -1)
    return [forward, backward] if key_frame > 0 else [forward]


class Pass:
    """Segments frames in the given order, each sentence with a memory bank of its own.

    Args:
        video: see there.
        tracks: B sentences that agree in `window_stride`.
        frames: W video indices in the order of the pass (forward or backward from the key frame).
    """

    def __init__(self, video: VideoEncoder, tracks: Sequence[Track], frames: Sequence[int]) -> None:
        self.tracks = list(tracks)
        self._video = video
        self._frames = frames
        self._prompts = PromptReader(video, frames, tracks[0].settings.window_stride)
        self._step = 0

    @property
    def num_ahead(self) -> int:
        """Frames whose prompts were read and that were not segmented yet."""
        return self._prompts.num_ahead

    def drop(self, number: int) -> None:
        """Leaves a sentence out from the next frame on."""
        self.tracks = [track for track in self.tracks if track.number != number]

    def state(self) -> SessionState:
        """Memories and prompts between two steps; the position encoding of memories is the same of all."""
        prompts = self._prompts.state()
        facts = {"step": self._step, "numbers": [track.number for track in self.tracks], "prompts": prompts.facts}
        tensors = {f"prompts.{name}": tensor for name, tensor in prompts.tensors.items()}
        for track in self.tracks:
            for frame, memory in track.bank.entries().items():
                tensors[f"memory.{track.number}.{frame}"] = memory.features
                tensors["position"] = memory.position
        return SessionState(facts, tensors)

    def restore(self, state: SessionState) -> None:
        """Goes on where a pass over the same frames with the same sentences stood."""
        self._step = state.facts["step"]
        prompts = {name.removeprefix("prompts."): tensor for name, tensor in state.tensors.items()}
        self._prompts.restore(SessionState(state.facts["prompts"], prompts), self._step)
        device, tracks = self._video.model.device, {track.number: track for track in self.tracks}
        memories = [name.split(".")[1:] for name in state.tensors if name.startswith("memory.")]
        for number, frame in sorted((int(number), int(frame)) for number, frame in memories):
            features, position = state.tensors[f"memory.{number}.{frame}"], state.tensors["position"]
            tracks[number].bank.write(frame, Memory(features.to(device), position.to(device)))

    @torch.inference_mode()
    def step(self) -> StepResult:
        """The next frame."""
        step, frame, model = self._step, self._frames[self._step], self._video.model
        prompts = self._prompts.next([track.expression for track in self.tracks])
        rows = [prompts.rows[track.expression] for track in self.tracks]
        generated = [prompts.generated[row] for row in rows]
        embeddings = prompts.embeddings[rows]
        logits = embeddings.new_full((len(rows), *model.masks.logit_size), torch.nan)
        read = [track.remembered(step) if hit else () for track, hit in zip(self.tracks, generated, strict=True)]
        groups: dict[tuple[tuple[int, ...], bool, bool], list[int]] = {}
        for row, track in enumerate(self.tracks):
            if generated[row]:
                alike = read[row], track.settings.use_memory, track.settings.dynamic_multimask
                groups.setdefault(alike, []).append(row)
        for (_, use_memory, multimask), members in groups.items():
            logits[members] = self._segment(members, embeddings[members], use_memory, multimask)
        self._step += 1
        return StepResult(
            frame,
            [track.number for track in self.tracks],
            logits,
            embeddings,
            generated,
            [[self._frames[index] for index in indices] for indices in read],
        )

    def _segment(self, members: Sequence[int], embeddings: Tensor, use_memory: bool, multimask: bool) -> Tensor:
        """Logits [n, h, w] of sentences that remember the same frames; what comes of it is remembered."""
        masks, banks = self._video.model.masks, [self.tracks[row].bank for row in members]
        features = self._video.features(self._frames[self._step]).repeated(len(members))
        memories = _stack([bank.read(self._step) for bank in banks]) if use_memory else []
        conditioned = masks.condition(features, memories)
        logits = masks.decode(conditioned, features, embeddings, multimask)
        if use_memory:
            memory = masks.remember(conditioned, logits)
            for number, bank in enumerate(banks):
                bank.write(self._step, memory[number : number + 1])
        return logits


def _stack(memories: Sequence[Sequence[Memory]]) -> list[Memory]:
    """Memories of some expressions, each a list over frames, as one list over frames."""
    return [
        Memory(
            torch.cat([item.features for item in frame]),
            frame[0].position.expand(len(frame), -1, -1, -1),  # the same of every frame
        )
        for frame in zip(*memories, strict=True)
    ]
