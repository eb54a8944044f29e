"""A video segmented frame after frame: what is held does not grow with it, sentences come and go (paper 4.1, 4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from glus.errors import InputError
from glus.inference.encoder import FRAMES_AT_ONCE, VideoEncoder
from glus.inference.passes import Pass, PropagationSettings, StepResult, Track, pass_frames
from glus.inference.prompts import NOT_FINITE, build_conversation
from glus.inference.state import SessionState
from glus.inference.tracking import TrackedPass
from glus.media.sources import Frames, open_frames
from glus.model.glus import GlusModel
from glus.model.sam2 import resize_logits
from glus.processing.sentences import sentence_fault


@dataclass(frozen=True)
class SegmentedFrame:
    """Masks of one frame for the B sentences that are segmented there.

    Attributes:
        index: of the frame.
        time_s: when it is shown, seconds; None where the clip has no clock.
        numbers: of the sentences, ascending; 0 to B - 1 where all start at one frame.
        masks: bool [B, H, W]; blank where [SEG] was not generated.
        logits: float32 [B, h, w], the decoder's low-resolution output; NaN where [SEG] was not generated.
        seg_embeddings: float32 [B, C], the prompts given to the decoder; NaN where [SEG] was not generated.
        seg_token_generated: bool [B].
        memory_frame_indices: for each sentence, the video's frames that were read from the memory bank.
    """

    index: int
    time_s: float | None
    numbers: tuple[int, ...]
    masks: np.ndarray
    logits: np.ndarray
    seg_embeddings: np.ndarray
    seg_token_generated: np.ndarray
    memory_frame_indices: list[list[int]]


@dataclass(frozen=True)
class _Sentence:
    """Where a sentence starts and how it is segmented."""

    number: int
    expression: str
    start: int
    both_ways: bool
    settings: PropagationSettings

    def track(self) -> Track:
        """It in a new pass."""
        return Track(self.number, self.expression, self.settings)


class VideoSession(Iterator[SegmentedFrame]):
    """Segments a video frame after frame: forward to its end, then backward from the key frames to its beginning.

    Example:
        >>> session = VideoSession(model, "film.mp4")
        >>> session.add("the dog that jumps")
        0
        >>> for frame in session:
        ...     if frame.index == 100:
        ...         bird = session.add("the bird")  # from frame 101 on

    Each frame is given once for each sentence. No frame is encoded twice, but for those that both directions need and
    that have left the stores in between (see `VideoEncoder`): a key frame, and what lies between the first and the last
    key frame where sentences have several. All stores are bounded, see `entries`.

    Args:
        model: in evaluation mode.
        frames: see `open_frames`; their number must be known, as context frames cover the whole video. Or the encoder
            of an earlier session: what it still holds is not encoded again.
        settings: of sentences that are added without their own; by default those of the paper, and what the weights
            need.
    """

    def __init__(
        self, model: GlusModel, frames: Frames | VideoEncoder, settings: PropagationSettings | None = None
    ) -> None:
        self._settings = settings or PropagationSettings(dynamic_multimask=model.settings.dynamic_multimask)
        self._video = frames if isinstance(frames, VideoEncoder) else VideoEncoder(model, open_frames(frames))
        self._sentences: dict[int, _Sentence] = {}
        self._added = 0
        self._passes: list[Pass | TrackedPass] = []
        self._next = 0
        self._backward = False

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self._video.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the masks, pixels."""
        return self._video.frames.size

    @property
    def context_frames(self) -> list[int]:
        """Frames that every conversation shows."""
        return self._video.context_frames

    def entries(self) -> dict[str, tuple[int, int]]:
        """What each store holds now, and the most that it ever holds."""
        kept = self._video.entries()
        tracks = [track for each in self._passes for track in each.tracks]
        memories = [len(track.bank) for track in tracks]
        most = max((track.settings.max_strided + 1 for track in tracks), default=0)
        return {
            "encoded frames": (kept["encoded frames"], self._video.frames_kept),
            "context frames": (kept["context frames"], len(self.context_frames)),
            "memories of a sentence": (max(memories, default=0), most),
            "frames answered ahead": (max((each.num_ahead for each in self._passes), default=0), FRAMES_AT_ONCE),
        }

    def add(self, expression: str, *, key_frame: int | None = None, settings: PropagationSettings | None = None) -> int:
        """Adds a sentence and returns its number.

        Args:
            key_frame: where it starts, forward and then backward to frame 0; None: at the next frame, forward only.

        Raises:
            InputError: a sentence that cannot be asked or does not fit the language model, a key frame that is not
                ahead, or a setting that does not fit the model.
        """
        model = self._video.model
        if fault := sentence_fault(expression, model.tokenizer.marks):
            raise InputError(f"expression {self._added} {fault[0]}. {fault[1]}.")
        start = self._next if key_frame is None else key_frame
        if not 0 <= start < self.num_frames:
            raise InputError(
                f"key frame {start} is outside of the video, which has frames 0 to {self.num_frames - 1}."
                if key_frame is not None
                else f"a sentence cannot be added: all {self.num_frames} frames of the video were segmented."
            )
        if self._backward or start < self._next:
            raise InputError(
                f"key frame {start} has passed: the video was segmented up to frame {self._next - 1}; start a new"
                " session."
            )
        chosen = settings or self._settings
        _require_fit(chosen, model)
        longest = min(self.num_frames, model.settings.num_query_frames)
        model.mllm.require_fit(len(build_conversation(model, expression, longest, 1, trailing_space=True)))
        number = self._added
        self._added += 1
        self._sentences[number] = _Sentence(number, expression, start, key_frame is not None and start > 0, chosen)
        return number

    def drop(self, number: int) -> None:
        """Leaves a sentence out from the next frame on.

        Raises:
            InputError: there is no such sentence.
        """
        if number not in self._sentences:
            raise InputError(f"sentence {number} is not in the session; it has {sorted(self._sentences)}.")
        del self._sentences[number]
        for each in self._passes:
            each.drop(number)
        self._passes = [each for each in self._passes if each.tracks]

    def state(self) -> SessionState:
        """Where the session stands between two frames; it holds the memories of a moment, whatever the length."""
        states = [each.state() for each in self._passes]
        facts = {
            "next": self._next,
            "backward": self._backward,
            "encoded": self._video.state(),
            "passes": [state.facts for state in states],
        }
        tensors = {
            f"{number}.{name}": tensor for number, state in enumerate(states) for name, tensor in state.tensors.items()
        }
        return SessionState(facts, tensors)

    @torch.inference_mode()
    def restore(self, state: SessionState) -> None:
        """Goes on where another session stood, with the same bits to come.

        To be called before the first frame. Model, frames and the sentences that were added, with their numbers, are
        those of the other session. The frames that it had in store are encoded again.
        """
        self._next, self._backward = state.facts["next"], state.facts["backward"]
        self._video.restore(state.facts["encoded"])
        for number, facts in enumerate(state.facts["passes"]):
            sentences = [self._sentences[of] for of in facts["numbers"]]
            frames = pass_frames(self.num_frames, sentences[0].start)[-1 if self._backward else 0]
            resumed = self._new_pass([each.track() for each in sentences], frames)
            mark = f"{number}."
            own = {name.removeprefix(mark): value for name, value in state.tensors.items() if name.startswith(mark)}
            resumed.restore(SessionState(facts, own))
            self._passes.append(resumed)

    def __next__(self) -> SegmentedFrame:
        """The next frame that belongs to a sentence."""
        while not self._backward and self._next < self.num_frames:
            self._begin(pass_frames(self.num_frames, self._next)[0], self._sentences.values())
            if self._passes:
                self._next += 1
                return self._segmented([each.step() for each in self._passes])
            ahead = [sentence.start for sentence in self._sentences.values() if sentence.start > self._next]
            if not ahead:
                raise StopIteration
            self._next = min(ahead)
        if not self._backward:
            self._backward, self._passes, self._next = True, [], self._last_key_frame()
        while self._next >= 0:
            begun = len(self._passes)
            frames = pass_frames(self.num_frames, self._next)[-1]
            self._begin(frames, [each for each in self._sentences.values() if each.both_ways])
            if not self._passes:
                self._next = self._last_key_frame()
                continue
            self._next -= 1
            results = [each.step() for each in self._passes]
            if begun:  # a key frame was given on the way forward
                return self._segmented(results[:begun])
        raise StopIteration

    def _begin(self, frames: range, sentences: Iterable[_Sentence]) -> None:
        """Starts passes with the sentences whose first frame this is."""
        alike: dict[int | PropagationSettings, list[Track]] = {}
        for sentence in sentences:
            if sentence.start == frames[0]:
                settings = sentence.settings
                shared = settings if settings.tracker else settings.window_stride
                alike.setdefault(shared, []).append(sentence.track())
        self._passes += [self._new_pass(tracks, frames) for tracks in alike.values()]

    def _new_pass(self, tracks: Sequence[Track], frames: range) -> Pass | TrackedPass:
        return (TrackedPass if tracks[0].settings.tracker else Pass)(self._video, tracks, frames)

    def _last_key_frame(self) -> int:
        """Where the way backward goes on if no sentence is on it; -1: nowhere."""
        starts = [each.start for each in self._sentences.values() if each.both_ways]
        return max((start for start in starts if not self._backward or start < self._next), default=-1)

    def _segmented(self, results: Sequence[StepResult]) -> SegmentedFrame:
        """Results of passes that segment the same frame, in the order of the sentences."""
        numbers = [number for result in results for number in result.numbers]
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        index, frames = results[0].frame, self._video.frames
        width, height = frames.size
        logits = torch.cat([result.logits for result in results])[order]
        # row by row: only one row of logits has the size of the frame at a time; NaN is in no mask
        masks = torch.cat([resize_logits(row.unsqueeze(0), height, width) > 0 for row in logits])
        hits = [hit for result in results for hit in result.seg_token_generated]
        generated = np.array([hits[row] for row in order])
        low = logits.float().cpu().numpy()
        if not np.isfinite(low[generated]).all():
            raise InputError(NOT_FINITE.format(f"the mask logits of frame {index}"))
        memory_frames = [read for result in results for read in result.memory_frames]
        return SegmentedFrame(
            index=index,
            time_s=None if frames.times_s is None else frames.times_s[index],
            numbers=tuple(numbers[row] for row in order),
            masks=masks.cpu().numpy(),
            logits=low,
            seg_embeddings=torch.cat([result.seg_embeddings for result in results])[order].float().cpu().numpy(),
            seg_token_generated=generated,
            memory_frame_indices=[memory_frames[row] for row in order],
        )


def _require_fit(settings: PropagationSettings, model: GlusModel) -> None:
    longest = model.settings.num_query_frames
    if not 1 <= settings.window_stride <= longest:
        raise InputError(
            f"window_stride {settings.window_stride}: a window has {longest} query frames, so it answers for 1 to"
            f" {longest} of them."
        )
    if settings.memory_stride < 1:
        raise InputError(f"memory_stride {settings.memory_stride}: at least 1 frame is expected.")
