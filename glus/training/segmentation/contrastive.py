"""The object contrastive loss and its bank of [SEG] tokens (paper 4.3, equation 6; reference on GLUS, section 9)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from glus.training.segmentation.batch import TokenKey

Picker = Callable[[int, int], list[int]]  # how many, out of how many -> indices, with replacement


def pick_at_random(count: int, population: int) -> list[int]:
    """Draws from torch's CPU generator, which the training loop seeds at each step."""
    return torch.randint(population, (count,)).tolist()


@dataclass(frozen=True)
class _Entry:
    key: TokenKey
    vector: Tensor


class TokenBank:
    """First in, first out: the last [SEG] prompts with what they speak of, without gradient.

    Args:
        size: entries kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: deque[_Entry] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._entries)

    def insert(self, keys: Sequence[TokenKey], vectors: Tensor) -> None:
        """Appends prompts, float [n, C]."""
        self._entries.extend(_Entry(key, vector) for key, vector in zip(keys, vectors.detach(), strict=True))

    def joined_by(self, keys: Sequence[TokenKey], vectors: Tensor) -> TokenBank:
        """What the bank would be after these prompts; it stays as it is."""
        joined = TokenBank(self._size)
        joined._entries.extend(_Entry(entry.key, entry.vector.to(vectors.device)) for entry in self._entries)
        joined.insert(keys, vectors)
        return joined

    def positives(self, token: TokenKey) -> list[Tensor]:
        """Prompts of other expressions for the same object in the same frame."""
        return [
            entry.vector
            for entry in self._entries
            if entry.key.video_id == token.video_id
            and entry.key.frame_name == token.frame_name
            and entry.key.expression_id != token.expression_id
            and entry.key.object_ids == token.object_ids
        ]

    def has_pair(self, keys: Iterable[TokenKey]) -> bool:
        """Whether a batch's tokens, beside those here, hold a positive pair: one object in one frame, said twice."""
        batch = list(keys)
        said: dict[tuple[str, str, frozenset[str]], set[str]] = {}
        for key in [*(entry.key for entry in self._entries), *batch][-self._size :]:
            said.setdefault((key.video_id, key.frame_name, key.object_ids), set()).add(key.expression_id)
        return any(len(said.get((key.video_id, key.frame_name, key.object_ids), ())) > 1 for key in batch)

    def negatives(self, token: TokenKey, *, same_object: bool) -> list[Tensor]:
        """Prompts for other objects; with `same_object`, as published, also for this one at other times."""

        def is_negative(other: TokenKey) -> bool:
            if other.video_id != token.video_id:
                return True
            if other.object_ids == token.object_ids:
                elsewhere = other.expression_id != token.expression_id and other.frame_name != token.frame_name
                return same_object and elsewhere
            return other.expression_id != token.expression_id

        return [entry.vector for entry in self._entries if is_negative(entry.key)]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, as plain data and tensors."""
        return {
            "keys": [
                (entry.key.video_id, entry.key.expression_id, entry.key.frame_name, sorted(entry.key.object_ids))
                for entry in self._entries
            ],
            "vectors": [entry.vector for entry in self._entries],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over a saved state."""
        self._entries.clear()
        for (video, expression, frame, objects), vector in zip(state["keys"], state["vectors"], strict=True):
            self._entries.append(_Entry(TokenKey(video, expression, frame, frozenset(objects)), vector))


def contrastive_loss(
    prompts: Tensor,
    keys: Sequence[TokenKey],
    bank: TokenBank,
    *,
    temperature: float,
    num_negatives: int,
    same_object_negatives: bool,
    single_contributor: bool,
    pick: Picker,
) -> Tensor | None:
    """Pulls prompts of one object together and pushes those of other objects apart.

    The batch counts among the bank's tokens, as published. A token with no positive, or with fewer negatives than are
    drawn, does not contribute.

    Args:
        prompts: float [n, C], the [SEG] prompts of the batch.
        keys: what each speaks of.
        bank: tokens of earlier steps; left as it is.
        single_contributor: keep the term where one token alone contributes; the published code drops it.
        pick: draws, for each token, the negatives (with replacement) and then one positive.

    Returns:
        The mean over contributing tokens, or None where there is none.
    """
    bank = bank.joined_by(keys, prompts)
    losses = []
    for prompt, key in zip(prompts, keys, strict=True):
        positives = bank.positives(key)
        negatives = bank.negatives(key, same_object=same_object_negatives)
        if not positives or len(negatives) < num_negatives:
            continue
        drawn = [negatives[index] for index in pick(num_negatives, len(negatives))]
        [positive] = pick(1, len(positives))
        others = torch.stack([positives[positive], *drawn])
        similarity = functional.cosine_similarity(prompt.unsqueeze(0), others, dim=1) / temperature
        losses.append(-functional.log_softmax(similarity, dim=0)[0])
    enough = 1 if single_contributor else 2
    return torch.stack(losses).mean() if len(losses) >= enough else None
