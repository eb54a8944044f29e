"""Training samples of the selector: context frames, query frames and expressions of one video (B.4).

`Nc` context frames, `Nq` query frames, `B` expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from glus.config import SelectorConfig
from glus.media.pictures import read_frame
from glus.processing.selector_conversation import ANSWERS, REQUESTS, Tail, encode_tail
from glus.processing.sentences import require_sentences, taught_to_selector
from glus.processing.tokenizer import LlamaSentencePiece
from glus.training.loop.sampling import batch_generator, sample_context_frames
from glus.training.selector.labels import LabelledVideo


@dataclass(frozen=True)
class SelectorSample:
    """Expressions of one video that share context and query frames.

    Attributes:
        context: float [Nc, 3, h, w], in order.
        queries: float [Nq, 3, h, w].
        tails: B requests with answers.
        targets: float [B, Nq], IoU of the query frames.
        names: B times `dataset/split/video/expression`.
    """

    context: Tensor
    queries: Tensor
    tails: tuple[Tail, ...]
    targets: Tensor
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class SelectorBatch:
    """The samples of one step."""

    samples: tuple[SelectorSample, ...]

    @property
    def num_masks(self) -> int:
        """Masks whose IoU is learnt: B * Nq of each sample."""
        return sum(sample.targets.numel() for sample in self.samples)

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Videos and expressions."""
        return tuple(name for sample in self.samples for name in sample.names)

    def to(self, device: torch.device) -> SelectorBatch:
        """The batch on another device."""
        return SelectorBatch(
            tuple(
                replace(
                    sample,
                    context=sample.context.to(device),
                    queries=sample.queries.to(device),
                    targets=sample.targets.to(device),
                )
                for sample in self.samples
            )
        )


class SelectorSampler:
    """Draws the samples of any step; the same seed and step give the same ones, whatever was drawn before.

    Args:
        videos: labelled training videos.
        split_weights: how often a split is drawn, relative to the others; within a split every video alike.
        config: section `selector`.
        tokenizer: with `[SCORE]`.
        image_processor: preprocessing of the CLIP tower.
        seed: of the run.
    """

    def __init__(
        self,
        videos: Sequence[LabelledVideo],
        split_weights: Mapping[str, float],
        config: SelectorConfig,
        tokenizer: LlamaSentencePiece,
        image_processor: CLIPImageProcessorPil,
        seed: int,
    ) -> None:
        self._videos = videos
        self._config = config
        self._tokenizer = tokenizer
        self._image_processor = image_processor
        self._seed = seed
        splits = [f"{video.split.dataset}/{video.split.split}" for video in videos]
        weights = np.array([split_weights[name] / splits.count(name) for name in splits])
        self._probabilities = weights / weights.sum()

    def __call__(self, number: int) -> SelectorBatch:
        """The batch of a number."""
        generator = batch_generator(self._seed, "selector", number)
        chosen = generator.choice(len(self._videos), size=self._config.samples, p=self._probabilities)
        return SelectorBatch(tuple(self._sample(self._videos[index], generator) for index in chosen))

    def _sample(self, labelled: LabelledVideo, generator: np.random.Generator) -> SelectorSample:
        count = len(labelled.expressions)
        chosen = generator.choice(count, size=min(self._config.max_expressions, count), replace=False)
        fewest, most = self._config.num_context_frames
        context = draw_context(labelled.video.num_frames, int(generator.integers(fewest, most + 1)), generator)
        candidates = context if self._config.query_in_context else range(labelled.video.num_frames)
        queries = generator.choice(candidates, size=min(self._config.num_query_frames, len(candidates)), replace=False)
        return SelectorSample(
            self._pixels(labelled, context),
            self._pixels(labelled, queries.tolist()),
            tuple(self._tail(labelled.expressions[index].text, generator) for index in chosen),
            torch.from_numpy(labelled.targets[np.ix_(chosen, queries)]),
            tuple(f"{labelled.name}/{labelled.expressions[index].expression_id}" for index in chosen),
        )

    def _pixels(self, labelled: LabelledVideo, indices: Sequence[int]) -> Tensor:
        frames = [read_frame(labelled.split.frame_path(labelled.video, index)) for index in indices]
        return self._image_processor(frames, return_tensors="pt")["pixel_values"]

    def _tail(self, text: str, generator: np.random.Generator) -> Tail:
        require_sentences([text], self._tokenizer.marks)
        request = answer = 0
        if self._config.vary_conversation:
            request, answer = int(generator.integers(len(REQUESTS))), int(generator.integers(len(ANSWERS)))
        return encode_tail(self._tokenizer, taught_to_selector(text), request, answer)


def draw_context(num_frames: int, count: int, generator: np.random.Generator) -> list[int]:
    """One random frame in each of `count` equal segments (B.4: random); all frames of a video that is not longer."""
    if num_frames <= count:
        return list(range(num_frames))
    return sample_context_frames(num_frames, count, generator)
