"""[SEG] embeddings of a pass, window after window, for all its sentences together (paper 4.1).

The prompt of a frame stands as if all earlier frames were answered, so it depends on no mask and can be read ahead. The
language model reads the context of a video once, the first query frame of a window once for all sentences, and the
rest of a window once for each; of its last layer it computes the states that are asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice

import torch
from torch import Tensor

from glus.errors import InputError
from glus.inference.encoder import FRAMES_AT_ONCE, VideoEncoder
from glus.inference.state import SessionState
from glus.inference.windows import Window, plan_windows
from glus.model.glus import GlusModel
from glus.model.sharing import SharedCache
from glus.processing.conversation import inference_prompt
from glus.processing.sentences import asked_of_glus
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import expand_images

CONVERSATIONS_AT_ONCE = 36  # sequences per call of the language model
NOT_FINITE = (
    "{} are not finite numbers, so there is no answer: the model's weights hold values that are not finite, or too"
    " large for their type (float16). Take the weights from their source again."
)


@dataclass(frozen=True)
class StepPrompts:
    """What the language model says of one frame.

    Attributes:
        rows: row of each sentence.
        embeddings: float [B, C]; NaN where [SEG] is not the most likely next token.
        generated: for each row, whether it is.
    """

    rows: dict[str, int]
    embeddings: Tensor
    generated: list[bool]


@dataclass(frozen=True)
class Conversation:
    """A prompt for a number of query frames.

    Attributes:
        context: ids up to the first visual token of the first query frame.
        ending: ids behind the last one of it.
        positions: ids of `ending` whose states predict [SEG], one for each query frame that is answered.
        tokens_per_frame: P.
    """

    context: list[int]
    ending: list[int]
    positions: list[int]
    tokens_per_frame: int

    def __len__(self) -> int:
        """Positions in the language model."""
        return len(self.context) + self.tokens_per_frame + len(self.ending)


class PromptReader:
    """Reads the prompts of one pass in the order of its steps, a few windows ahead.

    Args:
        video: see there.
        frames: video frame of each step.
        stride: frames that a window answers for, see `plan_windows`.
    """

    def __init__(self, video: VideoEncoder, frames: Sequence[int], stride: int) -> None:
        settings = video.model.settings
        self._video = video
        self._frames = frames
        self._trailing_space = settings.trailing_space and stride == 1
        self._windows: Iterator[Window] = plan_windows(
            len(frames), settings.num_query_frames, stride, apart=self._trailing_space
        )
        self._first: Window | None = None  # of the next call of the language model
        self._conversations: dict[tuple[str, int, int], Conversation] = {}
        self._ahead: deque[StepPrompts] = deque()

    @property
    def num_ahead(self) -> int:
        """Steps that were read and not asked for yet."""
        return len(self._ahead)

    def next(self, expressions: Sequence[str]) -> StepPrompts:
        """Prompts of the next step; what is read ahead is read for these sentences, a later step may ask for fewer."""
        if not self._ahead:
            self._read_ahead(list(dict.fromkeys(expressions)))
        return self._ahead.popleft()

    def state(self) -> SessionState:
        """What was read ahead."""
        if not self._ahead:
            return SessionState({"texts": [], "generated": []}, {})
        facts = {"texts": list(self._ahead[0].rows), "generated": [step.generated for step in self._ahead]}
        return SessionState(facts, {"embeddings": torch.stack([step.embeddings for step in self._ahead])})

    def restore(self, state: SessionState, step: int) -> None:
        """Takes over what was read ahead of a step, and goes on behind it."""
        rows = {text: row for row, text in enumerate(state.facts["texts"])}
        for number, generated in enumerate(state.facts["generated"]):
            embeddings = state.tensors["embeddings"][number].to(self._video.model.device)
            self._ahead.append(StepPrompts(rows, embeddings, generated))
        read = step + len(self._ahead)
        self._windows = dropwhile(lambda window: window.end <= read, self._windows)

    def _read_ahead(self, expressions: list[str]) -> None:
        windows = self._next_windows()
        self._video.prepare({self._frames[step] for window in windows for step in range(window.first, window.end)})
        embeddings, hits = self._read(windows, expressions)
        rows = {text: row for row, text in enumerate(expressions)}
        for step, generated in enumerate(hits.T.tolist()):  # the one time that the host waits for the language model
            self._ahead.append(StepPrompts(rows, embeddings[:, step], generated))

    def _next_windows(self) -> list[Window]:
        """Windows of one length that answer for equally many steps, not more than are encoded at once."""
        first = self._first or next(self._windows)
        windows, self._first = [first], None
        for window in islice(self._windows, max(0, FRAMES_AT_ONCE // first.answers - 1)):
            if (len(window), window.answers) != (len(first), first.answers):
                self._first = window
                break
            windows.append(window)
        return windows

    def _read(self, windows: Sequence[Window], expressions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Embeddings float [B, S, C] and hits bool [B, S] of the S steps that windows alike answer for."""
        mllm, video = self._video.model.mllm, self._video
        tokens = [[video.tokens(self._frames[step]) for step in range(each.first, each.end)] for each in windows]
        conversations = [self._conversation(text, windows[0]) for text in expressions]
        context = video.context(conversations[0].context)
        seen = mllm.read_frames(torch.stack([frames[0] for frames in tokens]), context)
        later = torch.stack([torch.cat([frames[0][:0], *frames[1:]]) for frames in tokens])
        embeddings: list[Tensor] = [torch.empty(0)] * len(expressions)
        hits: list[Tensor] = [torch.empty(0)] * len(expressions)
        for rows in _alike(conversations, CONVERSATIONS_AT_ONCE // len(windows)):
            found = self._read_endings([conversations[row] for row in rows], len(windows), later, seen)
            for row, embedding, hit in zip(rows, *found, strict=True):
                embeddings[row], hits[row] = embedding, hit
        return torch.stack(embeddings), torch.stack(hits)

    def _read_endings(
        self, conversations: Sequence[Conversation], num_windows: int, later: Tensor, seen: SharedCache
    ) -> tuple[Tensor, Tensor]:
        """Embeddings float [n, S, C] and hits bool [n, S] of n sentences whose endings are of one length.

        Args:
            later: visual tokens of each window's frames after the first, [windows, (Nq - 1) P, D].
            seen: what the language model keeps of each window's first frame.

        Raises:
            InputError: an embedding is not finite.
        """
        model = self._video.model
        ids, positions = (
            torch.tensor(rows, device=model.device).repeat(num_windows, 1)
            for rows in ([item.ending for item in conversations], [item.positions for item in conversations])
        )
        images = later.repeat_interleave(len(conversations), dim=0)
        answers = model.mllm.read_endings(ids, images, positions, seen).flatten()
        hit = model.seg_logits(answers.last).argmax(dim=-1) == model.seg_id
        prompts = model.seg_prompts(answers.seg)
        if not prompts.isfinite().all():  # the next token of such states is arbitrary, so an object would be missed
            raise InputError(NOT_FINITE.format("the [SEG] embeddings"))
        embeddings = prompts.masked_fill(~hit.unsqueeze(1), torch.nan)
        by_sentence = num_windows, len(conversations), positions.shape[1]
        return (
            embeddings.unflatten(0, by_sentence).transpose(0, 1).flatten(1, 2),
            hit.unflatten(0, by_sentence).transpose(0, 1).flatten(1, 2),
        )

    def _conversation(self, expression: str, window: Window) -> Conversation:
        key = expression, len(window), window.answers
        if key not in self._conversations:
            self._conversations[key] = build_conversation(
                self._video.model, expression, len(window), window.answers, trailing_space=self._trailing_space
            )
        return self._conversations[key]


def build_conversation(
    model: GlusModel, expression: str, num_frames: int, answers: int, *, trailing_space: bool
) -> Conversation:
    """The prompt that shows `num_frames` query frames and asks for the [SEG] of the newest `answers` of them.

    An answer is read where training reads it, one position before its [SEG]; with `trailing_space` the newest is read
    from the blank piece at the end, as published.
    """
    settings, per_frame = model.settings, model.mllm.tokens_per_frame
    prompt = inference_prompt(
        asked_of_glus(expression), settings.num_context_frames, num_frames, trailing_space=trailing_space
    )
    ids = expand_images(model.tokenizer.encode_with_images(prompt), per_frame)
    images = [position for position, token in enumerate(ids) if token == IMAGE_ID]
    first = images[settings.num_context_frames * per_frame]
    ending = ids[first + per_frame :]
    said = [position - 1 for position, token in enumerate(ending) if token == model.seg_id]
    return Conversation(ids[:first], ending, [*said, len(ending) - 1][-answers:], per_frame)


def _alike(conversations: Sequence[Conversation], at_once: int) -> Iterator[list[int]]:
    """Rows of conversations whose endings are equally long, so that none is padded, some at a time."""
    by_length: dict[int, list[int]] = {}
    for row, conversation in enumerate(conversations):
        by_length.setdefault(len(conversation.ending), []).append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), max(1, at_once)):
            yield rows[start : start + max(1, at_once)]
