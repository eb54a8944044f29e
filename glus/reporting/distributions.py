"""How J and F are distributed over expressions and frames, and how J runs over the time of a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from glus.metrics.scoring import ExpressionScore

NUM_BINS = 20
EDGES = np.linspace(0, 1, NUM_BINS + 1)
POSITIONS = np.linspace(0, 1, 21)  # of a clip's time: 0 is its first frame, 1 its last
EVERYTHING = "all"


@dataclass(frozen=True)
class Histogram:
    """Counts of one measure in `NUM_BINS` equal bins of 0..1, the last one closed.

    Attributes:
        measure: "J" or "F".
        expressions: expressions by their mean over frames, int [NUM_BINS].
        frames: frames of all expressions, int [NUM_BINS].
    """

    measure: str
    expressions: np.ndarray
    frames: np.ndarray


def histograms(scores: Sequence[ExpressionScore]) -> list[Histogram]:
    """The distributions of J and of F."""
    return [
        Histogram("J", _counts([score.mean_j for score in scores]), _counts(np.concatenate([s.j for s in scores]))),
        Histogram("F", _counts([score.mean_f for score in scores]), _counts(np.concatenate([s.f for s in scores]))),
    ]


def _counts(values: Sequence[float] | np.ndarray) -> np.ndarray:
    # Rounded first, for a mean may lie an ulp beside the edge that it is on.
    bins = np.floor(np.round(np.asarray(values) * NUM_BINS, 9)).astype(int)
    return np.bincount(bins.clip(0, NUM_BINS - 1), minlength=NUM_BINS)


def time_curves(scores: Sequence[ExpressionScore]) -> Mapping[str, np.ndarray]:
    """Mean J at each of `POSITIONS`, float [21]: of every family, then of all expressions.

    A clip's frames are spread evenly over its time, with straight lines between them; expressions count alike.
    """
    families = sorted({score.family for score in scores if score.family is not None})
    groups = {family: [score for score in scores if score.family == family] for family in families}
    return {
        name: np.mean([_over_time(score.j) for score in group], axis=0)
        for name, group in {**groups, EVERYTHING: list(scores)}.items()
    }


def _over_time(j: Sequence[float]) -> np.ndarray:
    return np.interp(POSITIONS * (len(j) - 1), np.arange(len(j)), j)
