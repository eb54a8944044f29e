"""Conversations of a batch as one packed row: what they share is read once, and nothing behind what is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glus.model.packing import Layout, lay_out
from glus.processing.beginnings import share_beginnings
from glus.processing.tokenizer import IMAGE_ID
from glus.processing.tokens import require_places


@dataclass(frozen=True)
class Conversations:
    """Conversations about the clips of a batch; T tokens in all, A of them asked for their states.

    Attributes:
        words: int64 [W], ids of the words.
        sources: int64 [T], which of the words, or, counted from W on, of the batch's visual tokens stands where.
        layout: who reads whom, and what is asked: conversation after conversation.
        visual: int64, places of all visual tokens, clip after clip, as the first conversation about each reads them.
        longest: positions of the longest one, as far as it is read.
    """

    words: Tensor
    sources: Tensor
    layout: Layout
    visual: Tensor
    longest: int

    def to(self, device: torch.device) -> Conversations:
        """The same on another device."""
        words, sources, visual = (index.to(device) for index in (self.words, self.sources, self.visual))
        return Conversations(words, sources, self.layout.to(device), visual, self.longest)


def pack_conversations(
    rows: Sequence[list[int]], clip_of: Sequence[int], visual_tokens_per_clip: int, asked: Sequence[Sequence[int]]
) -> Conversations:
    """Packs whole conversations, whose beginnings are compared token by token.

    Args:
        rows: ids of B conversations, `IMAGE_ID` for each visual token.
        clip_of: for each of them, the clip that its images are of, in order.
        visual_tokens_per_clip: of all frames of a clip.
        asked: positions in each of them whose states are wanted.

    Raises:
        InputError: a conversation has another number of places for visual tokens.
    """
    sequences = []
    for number, (row, clip, positions) in enumerate(zip(rows, clip_of, asked, strict=True)):
        require_places(f"row {number} of {len(rows)}", visual_tokens_per_clip, row.count(IMAGE_ID))
        images = iter(range(clip * visual_tokens_per_clip, (clip + 1) * visual_tokens_per_clip))
        read = row[: max(positions) + 1]
        sequences.append([-1 - next(images) if token == IMAGE_ID else token for token in read])
    forest = share_beginnings(sequences)
    wanted = [path[position] for path, positions in zip(forest.paths, asked, strict=True) for position in positions]
    first = [forest.paths[clip_of.index(clip)] for clip in sorted(set(clip_of))]
    tokens = torch.tensor(forest.tokens)
    is_word = tokens >= 0
    return Conversations(
        tokens[is_word],
        torch.where(is_word, is_word.cumsum(0), is_word.sum() - tokens) - 1,
        lay_out(forest.lengths, forest.parents, wanted),
        torch.tensor([place for path in first for place in path if forest.tokens[place] < 0], dtype=torch.long),
        max(map(len, sequences)),
    )
