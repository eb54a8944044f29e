"""Masks that another model carries on from the key frame, where the language model speaks once (paper 5.4, Table 6).

Shapes: B sentences, h w low-resolution logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from glus.inference.encoder import VideoEncoder
from glus.inference.passes import Pass, PropagationSettings, StepResult, Track
from glus.inference.state import SessionState
from glus.model.memory import MemoryBank


class Sam2Tracker:
    """SAM-2's own tracking by the mask branch: memory, and its "not a point" as prompt, as for frames without a click.

    Args:
        video: see there.
        settings: of all B sentences.
    """

    def __init__(self, video: VideoEncoder, settings: PropagationSettings) -> None:
        self._video, self._multimask = video, settings.dynamic_multimask
        self._bank = MemoryBank(settings.memory_stride, settings.max_strided)
        self._silence = video.model.masks.sam2.sam_prompt_encoder.not_a_point_embed.weight
        self._step = 0

    def begin(self, frame: int, logits: Tensor) -> None:
        """Remembers the masks of the key frame, float [B, h, w]."""
        features = self._video.features(frame).repeated(len(logits))
        self._remember(self._video.model.masks.condition(features, []), logits)

    def follow(self, frame: int) -> Tensor:
        """Mask logits of the next frame, float [B, h, w]."""
        masks, memories = self._video.model.masks, self._bank.read(self._step)
        count = len(memories[0].features)
        features = self._video.features(frame).repeated(count)
        conditioned = masks.condition(features, memories)
        logits = masks.decode(conditioned, features, self._silence.expand(count, -1), self._multimask)
        self._remember(conditioned, logits)
        return logits

    def _remember(self, conditioned: Tensor, logits: Tensor) -> None:
        self._bank.write(self._step, self._video.model.masks.remember(conditioned, logits))
        self._step += 1


class TrackedPass:
    """A pass whose later frames are a tracker's; a sentence that is not spoken of at the key frame has no masks.

    Args:
        video: see there.
        tracks: B sentences of the same settings, which name a tracker.
        frames: video indices in the order of the pass; the first one is the key frame.
    """

    num_ahead = 0

    def __init__(self, video: VideoEncoder, tracks: Sequence[Track], frames: Sequence[int]) -> None:
        settings = tracks[0].settings
        assert settings.tracker is not None
        spoken = replace(settings, use_memory=False, window_stride=1)
        self.tracks = list(tracks)
        self._video, self._frames = video, frames
        self._key = Pass(video, [Track(track.number, track.expression, spoken) for track in tracks], frames[:1])
        self._tracker = settings.tracker(video, settings)
        self._tracked: list[int] = []  # numbers of sentences, in the tracker's order
        self._masks = torch.empty(0)  # theirs at the key frame
        self._step = 0

    def drop(self, number: int) -> None:
        """Leaves a sentence out from the next frame on; the tracker goes on with it."""
        self.tracks = [track for track in self.tracks if track.number != number]
        self._key.drop(number)

    def state(self) -> SessionState:
        """The masks of the key frame and how far they were carried."""
        facts = {"step": self._step, "numbers": [track.number for track in self.tracks], "tracked": self._tracked}
        return SessionState(facts, {"masks": self._masks} if self._tracked else {})

    def restore(self, state: SessionState) -> None:
        """Carries the masks to where a pass over the same frames with the same sentences stood."""
        self._step, self._tracked = state.facts["step"], state.facts["tracked"]
        if self._tracked:
            self._begin(state.tensors["masks"].to(self._video.model.device))
            for frame in self._frames[1 : self._step]:
                self._tracker.follow(frame)

    @torch.inference_mode()
    def step(self) -> StepResult:
        """The next frame."""
        self._step += 1
        if self._step > 1:
            return self._follow(self._frames[self._step - 1])
        found = self._key.step()
        self._tracked = [of for of, hit in zip(found.numbers, found.seg_token_generated, strict=True) if hit]
        if self._tracked:
            self._begin(found.logits[torch.tensor(found.seg_token_generated)])
        return found

    def _begin(self, masks: Tensor) -> None:
        self._masks = masks
        self._tracker.begin(self._frames[0], masks)

    def _follow(self, frame: int) -> StepResult:
        model, numbers = self._video.model, [track.number for track in self.tracks]
        tracked = [number in self._tracked for number in numbers]
        shape = len(numbers), *model.masks.logit_size
        logits = torch.full(shape, torch.nan, device=model.device)
        if any(tracked):
            rows = [self._tracked.index(number) for number in numbers if number in self._tracked]
            logits[torch.tensor(tracked)] = self._tracker.follow(frame)[rows].float()
        nothing = torch.full((len(numbers), model.masks.sam2.hidden_dim), torch.nan, device=model.device)
        return StepResult(frame, numbers, logits, nothing, tracked, [[] for _ in numbers])
