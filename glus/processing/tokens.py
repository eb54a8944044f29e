"""Token ids as the language model takes them, and visual tokens at their places among the words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glus.errors import InputError
from glus.processing.tokenizer import IMAGE_ID


def pad_ids(rows: Sequence[list[int]], pad_id: int) -> Tensor:
    """Right-pads lists of ids, int64 [B, L]."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=pad_id)


def expand_images(ids: Sequence[int], tokens_per_frame: int) -> list[int]:
    """Repeats each image placeholder so that every visual token has a position of its own."""
    expanded: list[int] = []
    for token in ids:
        expanded.extend([token] * (tokens_per_frame if token == IMAGE_ID else 1))
    return expanded


def place_visual_tokens(words: Tensor, input_ids: Tensor, visual_tokens: Tensor) -> Tensor:
    """Embeddings of words and, where `IMAGE_ID` stands, of visual tokens: float [B, L, D].

    Args:
        words: float [B, L, D]; anything where `IMAGE_ID` stands.
        input_ids: int [B, L].
        visual_tokens: float [B, K, D], in the order of their places; or [total, D], row after row, where the rows have
            different numbers of them.

    Raises:
        InputError: another number of visual tokens than of places; names both, and the row.
    """
    is_image = input_ids == IMAGE_ID
    places = is_image.sum(dim=1).tolist()
    if visual_tokens.ndim == 2:
        require_places("all rows together", len(visual_tokens), sum(places))
    else:
        if len(visual_tokens) != len(places):
            raise InputError(f"visual tokens for {len(visual_tokens)} conversations, but there are {len(places)}.")
        for row, wanted in enumerate(places):
            require_places(f"row {row} of {len(places)}", visual_tokens.shape[1], wanted)
    # masked_scatter takes the tokens in order and leaves what is too many without a word: hence the counting.
    return words.masked_scatter(is_image.unsqueeze(-1), visual_tokens.to(words.dtype))


def require_places(where: str, found: int, expected: int) -> None:
    """Demands as many visual tokens as there are places for them.

    Raises:
        InputError: names both, and `where` they are.
    """
    if found != expected:
        raise InputError(
            f"{where}: {found} visual tokens for {expected} places; the prompt has to hold one <image> for each frame,"
            " expanded by the visual tokens of a frame."
        )
