"""From staged splits to training batches: one callable for each phase, step number in, batch out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from glus.media.pictures import read_frame
from glus.model.conversations import pack_conversations
from glus.processing.conversation import (
    ANSWERS,
    INFERENCE_ANSWER,
    INFERENCE_QUESTION,
    QUESTIONS,
    training_prompt,
)
from glus.processing.sentences import SEG, require_sentences, taught_to_glus
from glus.processing.tokenizer import LlamaSentencePiece
from glus.processing.tokens import expand_images, pad_ids
from glus.processing.transforms import FrameTransform
from glus.records.split import StagedSplit
from glus.records.video import Expression
from glus.training.loop.sampling import (
    Mixture,
    VideoDraw,
    batch_generator,
    sample_context_frames,
    sample_expressions,
    sample_one_per_object,
    sample_window,
)
from glus.training.segmentation.batch import ClipBatch, TokenKey, TrackBatch
from glus.training.segmentation.grounding import Grounding


@dataclass(frozen=True)
class ClipSample:
    """One clip of a batch: which frames, which expressions, which texts (indices into the conversation's lists)."""

    draw: VideoDraw
    context_frames: list[int]
    query_frames: list[int]
    expressions: list[Expression]
    questions: list[list[int]]
    answers: list[list[int]]


class BatchBuilder:
    """Turns drawn samples into a `ClipBatch`: reads frames and masks, builds and tokenises the conversations.

    Args:
        sum_annotations: add the annotations of an expression up, as published (a pixel of two counts 2), instead of
            taking their union.
        ground: finds what there is to name and to point at, for phases that ask for it.
    """

    def __init__(
        self,
        tokenizer: LlamaSentencePiece,
        transform: FrameTransform,
        tokens_per_frame: int,
        *,
        sum_annotations: bool = False,
        ground: Callable[[Sequence[ClipSample]], Grounding] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.transform = transform
        self.tokens_per_frame = tokens_per_frame
        self._ground = ground
        self._target = summed_target if sum_annotations else union_target
        self._seg_id = tokenizer.token_id(SEG)

    def build(self, samples: Sequence[ClipSample]) -> ClipBatch:
        """The batch of some samples; all have the same numbers of context and query frames."""
        rows = [self._conversation(sample, number) for sample in samples for number in range(len(sample.expressions))]
        clip_of = [clip for clip, sample in enumerate(samples) for _ in sample.expressions]
        num_frames = len(samples[0].context_frames) + len(samples[0].query_frames)
        asked = [[position - 1 for position, token in enumerate(row) if token == self._seg_id] for row in rows]
        query = [self._frames(sample, sample.query_frames) for sample in samples]
        context = [self._frames(sample, sample.context_frames) for sample in samples]
        return ClipBatch(
            clip_pixels=torch.stack(
                [self.transform.clip(before + frames) for before, frames in zip(context, query, strict=True)]
            ),
            sam2_pixels=torch.stack([self.transform.sam2(frames) for frames in query]),
            input_ids=pad_ids(rows, self.tokenizer.pad_id),
            conversations=pack_conversations(rows, clip_of, num_frames * self.tokens_per_frame, asked),
            clip_of=torch.tensor(clip_of),
            targets=tuple(self._targets(sample) for sample in samples),
            keys=tuple(_keys(sample, expression) for sample in samples for expression in sample.expressions),
            grounding=self._ground(samples) if self._ground else None,
        )

    def _conversation(self, sample: ClipSample, number: int) -> list[int]:
        sentence = sample.expressions[number].text
        require_sentences([sentence], self.tokenizer.marks)
        prompt = training_prompt(
            taught_to_glus(sentence), len(sample.context_frames), sample.questions[number], sample.answers[number]
        )
        return expand_images(self.tokenizer.encode_with_images(prompt), self.tokens_per_frame)

    @staticmethod
    def _frames(sample: ClipSample, indices: Sequence[int]) -> list[Image.Image]:
        split, video = sample.draw.split, sample.draw.video
        return [read_frame(split.frame_path(video, index)) for index in indices]

    def _targets(self, sample: ClipSample) -> torch.Tensor:
        masks = [self._target(sample.draw.split, item, sample.query_frames) for item in sample.expressions]
        return torch.from_numpy(np.stack(masks))


def union_target(split: StagedSplit, expression: Expression, frames: Sequence[int]) -> np.ndarray:
    """What an expression refers to, bool [Nq, H, W]."""
    return split.target_masks(expression, frames)


def summed_target(split: StagedSplit, expression: Expression, frames: Sequence[int]) -> np.ndarray:
    """In how many annotations of an expression a pixel lies, uint8 [Nq, H, W]: the published training target."""
    each = [
        split.target_masks(replace(expression, annotation_ids=(annotation,)), frames)
        for annotation in expression.annotation_ids
    ]
    return np.stack(each).sum(axis=0, dtype=np.uint8)


def _keys(sample: ClipSample, expression: Expression) -> tuple[TokenKey, ...]:
    video = sample.draw.video
    return tuple(
        TokenKey(
            f"{sample.draw.split.dataset}/{video.video_id}",
            expression.expression_id,
            video.frame_names[frame],
            frozenset(expression.annotation_ids),
        )
        for frame in sample.query_frames
    )


@dataclass(frozen=True)
class ClipPhaseBatches:
    """The paper's samples: context frames of the whole video, a window of query frames, up to n expressions."""

    mixture: Mixture
    builder: BatchBuilder
    seed: int
    num_samples: int
    num_context_frames: int
    num_query_frames: int
    max_expressions: int
    reverse: float
    into_ambiguous: float
    vary_conversation: bool

    def __call__(self, number: int) -> ClipBatch:
        """The batch of a number."""
        generator = batch_generator(self.seed, "clip", number)
        return self.builder.build([self._sample(generator) for _ in range(self.num_samples)])

    def _sample(self, generator: np.random.Generator) -> ClipSample:
        draw = self.mixture.draw(generator)
        expressions = sample_expressions(draw.expressions, self.max_expressions, generator)
        num_frames = draw.video.num_frames
        return ClipSample(
            draw,
            sample_context_frames(num_frames, self.num_context_frames, generator),
            sample_window(
                num_frames,
                self.num_query_frames,
                self.reverse,
                generator,
                draw.video.ambiguous_frames,
                self.into_ambiguous,
            ),
            expressions,
            *_draw_texts(len(expressions), self.num_query_frames, self.vary_conversation, generator),
        )


@dataclass(frozen=True)
class SingleQueryBatches:
    """One query frame with one expression for each object: what stands for LLaVA's and LISA's pretraining."""

    name: str  # of the phase
    mixture: Mixture
    builder: BatchBuilder
    seed: int
    num_samples: int
    num_context_frames: int
    max_expressions: int
    vary_conversation: bool

    def __call__(self, number: int) -> ClipBatch:
        """The batch of a number."""
        generator = batch_generator(self.seed, self.name, number)
        return self.builder.build([self._sample(generator) for _ in range(self.num_samples)])

    def _sample(self, generator: np.random.Generator) -> ClipSample:
        draw = self.mixture.draw(generator)
        expressions = sample_one_per_object(draw.expressions, self.max_expressions, generator)
        clear = [index for index in range(draw.video.num_frames) if index not in draw.video.ambiguous_frames]
        frame = int(generator.choice(clear))
        texts = _draw_texts(len(expressions), 1, self.vary_conversation, generator)
        context = sample_context_frames(draw.video.num_frames, self.num_context_frames, generator)
        return ClipSample(draw, context, [frame], expressions, *texts)


def _draw_texts(
    num_expressions: int, num_frames: int, vary: bool, generator: np.random.Generator
) -> tuple[list[list[int]], list[list[int]]]:
    """Question and answer texts of each expression and query frame."""
    shape = (num_expressions, num_frames)
    if not vary:
        return np.full(shape, INFERENCE_QUESTION).tolist(), np.full(shape, INFERENCE_ANSWER).tolist()
    return generator.integers(len(QUESTIONS), size=shape).tolist(), generator.integers(
        len(ANSWERS), size=shape
    ).tolist()


@dataclass(frozen=True)
class TrackingPhaseBatches:
    """Windows with the masks of single objects: what stands for SAM-2's pretraining."""

    mixture: Mixture
    transform: FrameTransform
    seed: int
    num_samples: int
    num_frames: int
    max_objects: int

    def __call__(self, number: int) -> TrackBatch:
        """The batch of a number."""
        generator = batch_generator(self.seed, "tracking", number)
        pixels, targets, names = [], [], []
        for _ in range(self.num_samples):
            draw = self.mixture.draw(generator)
            window = sample_window(draw.video.num_frames, self.num_frames, 0.5, generator)
            chosen = sample_one_per_object(draw.expressions, self.max_objects, generator)
            frames = [read_frame(draw.split.frame_path(draw.video, index)) for index in window]
            pixels.append(self.transform.sam2(frames))
            targets.append(torch.from_numpy(np.stack([draw.split.target_masks(item, window) for item in chosen])))
            names.append(f"{draw.split.dataset}/{draw.video.video_id}")
        clip_of = torch.tensor([clip for clip, target in enumerate(targets) for _ in target])
        return TrackBatch(torch.stack(pixels), clip_of, tuple(targets), tuple(names))
