"""The frames of one video, decoded when they are needed, encoded once while they are near, in stores of a stated size.

Shapes: T frames, P visual tokens per frame, D language width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from glus.errors import InputError
from glus.media.sources import FrameSource
from glus.model.glus import GlusModel
from glus.model.sam2 import FrameFeatures
from glus.model.sharing import SharedCache
from glus.processing.context_frames import centre_context_frames

FRAMES_AT_ONCE = 8  # images per call of an encoder, and frames that are encoded ahead of the one being segmented
FRAMES_KEPT = 32  # encoded frames in memory: those ahead, a window, and what short clips use again


@dataclass(frozen=True)
class _EncodedFrame:
    """Visual tokens [P, D] and image features of a frame, and the frames that were encoded in one call with it."""

    tokens: Tensor
    features: FrameFeatures
    together: list[int]

    @property
    def num_bytes(self) -> int:
        """What it takes of memory."""
        parts = (self.tokens, self.features.stride4, self.features.stride8, self.features.stride16)
        return sum(part.nbytes for part in parts)


class VideoEncoder:
    """What the model sees of a video, shared by every sentence, pass and window.

    A frame goes through each encoder once while it is among the `frames_kept` latest; of the context frames the visual
    tokens are kept for good. Nothing else is held of a frame, its picture included. Sessions over one video may share
    an encoder, one at a time.

    Args:
        model: in evaluation mode.
        frames: T frames.
        kept_bytes: of encoded frames that may be held where `FRAMES_KEPT` of them take less.
    """

    def __init__(self, model: GlusModel, frames: FrameSource, kept_bytes: int = 0) -> None:
        self.model = model
        self.frames = frames
        self.context_frames = centre_context_frames(len(frames), model.settings.num_context_frames)
        self._context: dict[int, Tensor] = {}
        self._context_prefix: tuple[list[int], SharedCache] | None = None
        self._encoded: OrderedDict[int, _EncodedFrame] = OrderedDict()
        self._position: Tensor | None = None
        self._kept_bytes = kept_bytes

    @property
    def frames_kept(self) -> int:
        """The most encoded frames that are held."""
        one = next(iter(self._encoded.values()), None)
        return FRAMES_KEPT if one is None else max(FRAMES_KEPT, self._kept_bytes // one.num_bytes)

    def entries(self) -> dict[str, int]:
        """How much the stores hold, in frames."""
        return {"encoded frames": len(self._encoded), "context frames": len(self._context)}

    def prepare(self, frames: Iterable[int]) -> None:
        """Encodes frames that are about to be needed, up to `FRAMES_AT_ONCE` of them together."""
        missing = []
        for frame in frames:
            if frame in self._encoded:
                self._encoded.move_to_end(frame)
            else:
                missing.append(frame)
        missing.sort()
        for start in range(0, len(missing), FRAMES_AT_ONCE):
            self._encoded |= self._encode(missing[start : start + FRAMES_AT_ONCE])
            while len(self._encoded) > self.frames_kept:
                self._encoded.popitem(last=False)

    def state(self) -> list[tuple[int, list[int]]]:
        """The frames that are kept, the one that leaves first in front, each with those that it was encoded with."""
        return [(frame, kept.together) for frame, kept in self._encoded.items()]

    def restore(self, state: Sequence[tuple[int, list[int]]]) -> None:
        """Encodes the frames of a `state` in the calls that they came from, on which their last bits depend."""
        encoded: dict[int, _EncodedFrame] = {}
        frames = [frame for frame, _ in state]
        for together in dict.fromkeys(tuple(together) for _, together in state):
            found = self._encode(list(together))
            encoded |= {frame: found[frame] for frame, of in state if tuple(of) == together}
        self._encoded = OrderedDict((frame, encoded[frame]) for frame in frames)

    def tokens(self, frame: int) -> Tensor:
        """Visual tokens of one frame, [P, D]."""
        self.prepare([frame])
        return self._encoded[frame].tokens

    def features(self, frame: int) -> FrameFeatures:
        """Image features of one frame, one row."""
        self.prepare([frame])
        return self._encoded[frame].features

    def picture(self, frame: int) -> Image.Image:
        """A frame as it is shown.

        Raises:
            InputError: it has not the size of the clip.
        """
        image = self.frames[frame]
        if image.size != self.frames.size:
            raise InputError(
                f"{self.frames.name}: frame {frame} is {image.size[0]}x{image.size[1]}, the clip is"
                f" {self.frames.size[0]}x{self.frames.size[1]}; all frames must be of one size."
            )
        return image

    def context(self, ids: list[int]) -> SharedCache:
        """What the language model keeps of the beginning of every conversation: system text and context block."""
        if self._context_prefix is None or self._context_prefix[0] != ids:
            self._read_context_frames()
            input_ids = torch.tensor([ids], device=self.model.device)
            seen = [self._context[frame] for frame in self.context_frames]
            width = self.model.language_model.config.hidden_size
            tokens = torch.cat(seen) if seen else torch.empty(0, width, device=self.model.device)
            self._context_prefix = ids, self.model.mllm.read_context(input_ids, tokens.unsqueeze(0))
        return self._context_prefix[1]

    def _read_context_frames(self) -> None:
        missing = sorted(set(self.context_frames) - self._context.keys())
        if missing:
            tokens = self._visual_tokens([self.picture(frame) for frame in missing])
            self._context |= dict(zip(missing, tokens, strict=True))

    def _encode(self, frames: list[int]) -> dict[int, _EncodedFrame]:
        self._read_context_frames()
        images = [self.picture(frame) for frame in frames]
        unseen = [frame for frame in frames if frame not in self._context]
        seen = dict(zip(unseen, self._visual_tokens([images[frames.index(frame)] for frame in unseen]), strict=True))
        features = self.model.masks.encode(self.model.transform.sam2(images).to(self.model.device))
        if self._position is None:  # the same of every frame
            self._position = features.position[:1].clone()
        encoded = {}
        for row, frame in enumerate(frames):
            tokens = self._context[frame] if frame in self._context else seen[frame]
            own = features[row : row + 1]
            parts = FrameFeatures(own.stride4.clone(), own.stride8.clone(), own.stride16.clone(), self._position)
            encoded[frame] = _EncodedFrame(tokens, parts, frames)
        return encoded

    def _visual_tokens(self, images: Sequence[Image.Image]) -> list[Tensor]:
        """Visual tokens of pictures, [P, D] each."""
        if not images:
            return []
        mllm = self.model.mllm
        pixels = self.model.transform.clip(images).to(self.model.device, mllm.mm_projector.weight.dtype)
        return [tokens.clone() for tokens in mllm.project(mllm.encode_frames(pixels))]
