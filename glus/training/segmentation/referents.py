"""What there is to name and to point at in samples: referents, the words that tell them apart, where they are seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from glus.config import GroundingConfig
from glus.processing.coverage import coverage
from glus.processing.sentences import taught_to_glus
from glus.processing.tokenizer import LlamaSentencePiece
from glus.records.video import Expression
from glus.training.segmentation.grounding import Grounding
from glus.training.segmentation.samples import ClipSample, union_target


class Grounder:
    """Finds what there is to name and to point at in samples.

    Args:
        config: the families of the expressions that ask for it, and what the losses weigh.
        tokenizer: of the language model.
        num_patches: of a frame, before pooling.
        tokens_per_frame: after it.
    """

    def __init__(
        self, config: GroundingConfig, tokenizer: LlamaSentencePiece, num_patches: int, tokens_per_frame: int
    ) -> None:
        self._config, self._tokenizer = config, tokenizer
        self._num_patches, self._tokens_per_frame = num_patches, tokens_per_frame

    def __call__(self, samples: Sequence[ClipSample]) -> Grounding:
        """What a phase may say of a clip in these families is named, not just the expressions that were drawn."""
        words, shown = zip(*(self._of_clip(sample) for sample in samples), strict=True)
        return Grounding(
            torch.tensor([clip for clip, of_clip in enumerate(words) for _ in of_clip], dtype=torch.long),
            torch.cat(words),
            torch.cat(shown),
            torch.tensor([self._asks(item) for sample in samples for item in sample.expressions]),
            {"naming": self._config.naming, "pointing": self._config.pointing},
        )

    def _asks(self, expression: Expression) -> bool:
        return expression.family in self._config.families

    def _of_clip(self, sample: ClipSample) -> tuple[torch.Tensor, torch.Tensor]:
        """Words [R, V] and coverage [R, T]; later query frames follow words, which their tokens could repeat."""
        groups = by_referent(filter(self._asks, sample.draw.expressions))
        said = [
            {token for item in group for token in self._tokenizer.encode(taught_to_glus(item.text))} for group in groups
        ]
        words = telling_words(said, len(self._tokenizer))
        num_frames = len(sample.context_frames) + len(sample.query_frames)
        shown = torch.zeros(len(groups), num_frames * self._tokens_per_frame)
        if groups:
            frames = [*sample.context_frames, sample.query_frames[0]]
            masks = np.stack([union_target(sample.draw.split, group[0], frames) for group in groups])
            before = coverage(torch.from_numpy(masks), self._num_patches, self._tokens_per_frame)
            shown[:, : before.shape[1]] = before
        return words, shown


def by_referent(expressions: Iterable[Expression]) -> list[list[Expression]]:
    """The expressions that refer to the same, in the order of the first of them."""
    groups: dict[frozenset[str], list[Expression]] = {}
    for expression in expressions:
        groups.setdefault(frozenset(expression.annotation_ids), []).append(expression)
    return list(groups.values())


def telling_words(said: Sequence[set[int]], vocabulary: int) -> torch.Tensor:
    """The words by which what is said of a clip's referents differs: those of each that are not said of all of them.

    Args:
        said: ids of the words that are said of each.
        vocabulary: V.

    Returns:
        Equal shares, float [referents, V]; zeros where no word is left.
    """
    words = torch.zeros(len(said), vocabulary)
    common: set[int] = set.intersection(*said) if said else set()
    for row, of_one in zip(words, said, strict=True):
        telling = sorted(of_one - common)
        row[telling] = 1 / max(len(telling), 1)
    return words
