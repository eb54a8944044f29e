"""What sequences begin with alike, found once: a forest whose branches are the sequences."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

SHORTEST = 8  # tokens; fewer in common cost more as a stretch of their own than they save


@dataclass(frozen=True)
class Forest:
    """Stretches of tokens, one after the other; each stands behind the one that it continues.

    Attributes:
        tokens: of all stretches.
        lengths: of each stretch, above 0.
        parents: of each stretch, the number of the one that it continues; None for a beginning.
        paths: for each sequence, where its tokens stand among `tokens`.
    """

    tokens: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    parents: list[int | None] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)


def share_beginnings(sequences: Sequence[list[int]]) -> Forest:
    """Tokens of sequences; what several of them begin with stands there once. Equal numbers are equal tokens."""
    forest = Forest(paths=[[] for _ in sequences])
    _grow(forest, dict(enumerate(sequences)), None)
    return forest


def _grow(forest: Forest, rests: dict[int, list[int]], parent: int | None) -> None:
    """Adds what some sequences, by number, go on with behind the stretch that they share."""
    common = _length_in_common(rests.values())
    if common and (common >= SHORTEST or common == max(map(len, rests.values()))):
        first = len(forest.tokens)
        forest.tokens.extend(next(iter(rests.values()))[:common])
        forest.lengths.append(common)
        forest.parents.append(parent)
        parent = len(forest.lengths) - 1
        for number in rests:
            forest.paths[number].extend(range(first, first + common))
        rests, common = {number: rest[common:] for number, rest in rests.items()}, 0
    parting: dict[int | None, dict[int, list[int]]] = {}
    for number, rest in rests.items():
        if rest:
            parting.setdefault(rest[common] if len(rest) > common else None, {})[number] = rest
    for together in parting.values():
        _grow(forest, together, parent)


def _length_in_common(sequences: Collection[list[int]]) -> int:
    first, last = min(sequences), max(sequences)  # what these two begin with, all do: they stand between them
    for length, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return length
    return min(len(first), len(last))
