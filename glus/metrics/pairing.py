"""Two ways to predict the same sentences, compared sentence by sentence, and how sure the difference is.

Sentences of one video share its frames and its objects, so what is drawn anew for the interval are videos, not
sentences (a cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from glus.metrics.grouping import by_family, percent
from glus.metrics.scoring import ExpressionScore
from glus.records.video import Key

CONFIDENCE = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Pair:
    """One sentence, predicted in two ways.

    Attributes:
        target_share: of the frame that the target covers, mean over the frames in which it is; 0 where it is in none.
    """

    a: ExpressionScore
    b: ExpressionScore
    target_share: float

    @property
    def key(self) -> Key:
        """The sentence."""
        return self.a.key

    @property
    def gain(self) -> float:
        """What B has more of J&F, -1..1."""
        return self.b.jf - self.a.jf


@dataclass(frozen=True)
class Difference:
    """J&F of some sentences in both ways, percent.

    Attributes:
        gain: B minus A.
        low: the interval that holds the gain with 95 % confidence begins here; None for sentences of a single video.
        high: and ends here.
        num_better: sentences of which B is better.
        num_worse: sentences of which A is better.
    """

    a: float
    b: float
    gain: float
    low: float | None
    high: float | None
    num_better: int
    num_worse: int
    num_expressions: int
    num_videos: int

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves out that there is no difference."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def difference(pairs: Sequence[Pair], seed: int) -> Difference:
    """The mean difference of some sentences, with its interval over their videos."""
    gains = [pair.gain for pair in pairs]
    low, high = interval_of_mean([pair.key[0] for pair in pairs], gains, seed)
    return Difference(
        a=percent(pair.a.jf for pair in pairs),
        b=percent(pair.b.jf for pair in pairs),
        gain=percent(gains),
        low=low,
        high=high,
        num_better=sum(gain > 0 for gain in gains),
        num_worse=sum(gain < 0 for gain in gains),
        num_expressions=len(pairs),
        num_videos=len({pair.key[0] for pair in pairs}),
    )


def interval_of_mean(
    videos: Sequence[str], values: Sequence[float] | np.ndarray, seed: int
) -> tuple[float | None, float | None]:
    """The interval that holds the mean over sentences with 95 % confidence, percent; None and None for a single video.

    Percentiles of the mean over videos drawn with replacement, each with all its sentences.

    Args:
        videos: of each sentence.
        values: of each sentence, as shares.
    """
    names, of_sentence = np.unique(np.asarray(videos), return_inverse=True)
    if len(names) < 2:
        return None, None
    sums, counts = np.bincount(of_sentence, np.asarray(values)), np.bincount(of_sentence)
    if np.ptp(values) == 0:  # nothing varies, which scipy warns of
        return 100 * float(values[0]), 100 * float(values[0])
    found = bootstrap(
        (sums, counts),
        lambda sums, counts, axis: sums.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        n_resamples=RESAMPLES,
        batch=256,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return 100 * float(found.low), 100 * float(found.high)


def size_of(pair: Pair) -> str | None:
    """How large the target is; None where it is never seen."""
    if not pair.target_share:
        return None
    return "below 1 %" if pair.target_share < 0.01 else "1 to 10 %" if pair.target_share < 0.1 else "10 % and more"


def length_of(pair: Pair) -> str:
    """How long the video is."""
    num_frames = len(pair.a.j)
    bounds = {20: "up to 20", 50: "21 to 50", 100: "51 to 100"}
    return next((name for bound, name in bounds.items() if num_frames <= bound), "over 100")


def appearance_of(pair: Pair) -> str:
    """When the target is first seen."""
    seen = np.flatnonzero(pair.a.target_px)
    if not len(seen):
        return "never"
    return "first frame" if not seen[0] else "first half" if seen[0] < len(pair.a.j) / 2 else "second half"


BREAKDOWNS: Mapping[str, Callable[[Pair], str | None]] = {
    "family": lambda pair: pair.a.family,
    "size of the target": size_of,
    "frames of the video": length_of,
    "first seen": appearance_of,
}


def break_down(pairs: Sequence[Pair], seed: int) -> dict[str, dict[str, Difference]]:
    """The difference within the groups of each breakdown; those that know no groups are left out."""
    found = {name: by_family(pairs, group, partial(difference, seed=seed)) for name, group in BREAKDOWNS.items()}
    return {name: groups for name, groups in found.items() if groups}
