"""Which frames, expressions and texts a training sample holds (paper 4.1; reference on GLUS, section 10).

Everything is drawn from a generator that is passed in, so a batch can be drawn again from its number alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from glus.errors import InputError
from glus.processing.context_frames import segment_bounds
from glus.records.split import StagedSplit
from glus.records.video import Expression, Video


def batch_generator(seed: int, name: str, number: int) -> np.random.Generator:
    """The generator of one batch of one phase."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), number])


def sample_context_frames(num_frames: int, num_context_frames: int, generator: np.random.Generator) -> list[int]:
    """One uniform frame of each of `num_context_frames` equal segments (training)."""
    bounds = segment_bounds(num_frames, num_context_frames)
    return [int(generator.integers(low, max(high, low + 1))) for low, high in pairwise(bounds)]


def sample_window(
    num_frames: int,
    length: int,
    reverse: float,
    generator: np.random.Generator,
    ambiguous_frames: Sequence[int] = (),
    into_ambiguous: float = 0.0,
) -> list[int]:
    """A contiguous window of query frames, played backwards in a share of the draws.

    A window does not begin on an ambiguous frame: nothing in it tells which object is meant, and a guess would be all
    there is to learn. Where no window is left, any one is drawn.

    Args:
        ambiguous_frames: see `Video`.
        into_ambiguous: share of the draws, where the video allows, whose window goes on into ambiguous frames: there
            memory is all that helps.
    """
    backwards = bool(reverse) and generator.random() < reverse
    ambiguous = set(ambiguous_frames)
    windows = [range(start, start + length) for start in range(num_frames - length + 1)]
    if backwards:
        windows = [window[::-1] for window in windows]
    choice = [window for window in windows if window[0] not in ambiguous] or windows
    if into_ambiguous and generator.random() < into_ambiguous:
        choice = [window for window in choice if not ambiguous.isdisjoint(window)] or choice
    return list(choice[generator.integers(len(choice))])


def sample_expressions(
    expressions: Sequence[Expression], maximum: int, generator: np.random.Generator
) -> list[Expression]:
    """Up to `maximum` expressions without replacement; all of them, in order, where there are not more."""
    if len(expressions) <= maximum:
        return list(expressions)
    return [expressions[index] for index in generator.choice(len(expressions), maximum, replace=False)]


def sample_one_per_object(
    expressions: Sequence[Expression], maximum: int, generator: np.random.Generator
) -> list[Expression]:
    """Up to `maximum` expressions, each for another object."""
    chosen: dict[tuple[str, ...], Expression] = {}
    for index in generator.permutation(len(expressions)):
        chosen.setdefault(expressions[index].annotation_ids, expressions[index])
    return list(chosen.values())[:maximum]


@dataclass(frozen=True)
class VideoDraw:
    """A video of the mixture with the expressions that may be trained on."""

    split: StagedSplit
    video: Video
    expressions: list[Expression]


class Mixture:
    """Training splits with their sampling rates: a split by weight, then a uniform video (Table 7).

    Args:
        splits: staged splits and weights.
        families: families of expressions to draw from; empty: all.
        min_frames: videos with fewer frames are left out (counted in `num_too_short`).

    Raises:
        InputError: a split has no video left to draw.
    """

    def __init__(self, splits: Iterable[tuple[StagedSplit, float]], families: Sequence[str], min_frames: int) -> None:
        self._splits: list[list[VideoDraw]] = []
        weights = []
        self.num_too_short = 0
        for split, weight in splits:
            draws = []
            for video_id, video in split.videos.items():
                wanted = [
                    expression
                    for expression in split.expressions[video_id]
                    if expression.annotation_ids and (not families or expression.family in families)
                ]
                self.num_too_short += video.num_frames < min_frames
                if wanted and video.num_frames >= min_frames:
                    draws.append(VideoDraw(split, video, wanted))
            if not draws:
                raise InputError(
                    f"{split.directory}: no video of at least {min_frames} frames with annotated expressions"
                    + (f" of the families {', '.join(families)}." if families else ".")
                )
            self._splits.append(draws)
            weights.append(weight)
        self._weights = np.array(weights) / sum(weights)

    def draw(self, generator: np.random.Generator) -> VideoDraw:
        """One video, by split weight and then uniformly."""
        draws = self._splits[generator.choice(len(self._splits), p=self._weights)]
        return draws[generator.integers(len(draws))]
