"""How J&F differs from sentence to sentence, and how sure its mean is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glus.metrics.pairing import interval_of_mean
from glus.records.tables import read_table


@dataclass(frozen=True)
class SentenceSpread:
    """J&F of the sentences of a split, percent.

    Attributes:
        mean: plain, whatever the protocol averages.
        low: the interval that holds the mean with 95 % confidence begins here; None for a single video.
        high: and ends here.
        lower_quarter: a quarter of the sentences lie below.
        upper_quarter: and a quarter above.
    """

    mean: float
    low: float | None
    high: float | None
    lower_quarter: float
    median: float
    upper_quarter: float
    num_videos: int


def read_spread(table: Path) -> SentenceSpread:
    """Of `per_expression.parquet`; what is drawn anew for the interval are videos, always the same draws.

    Raises:
        ArtifactError: the table is missing or damaged.
    """
    columns = read_table("per_expression", table, ["video_id", "jf"]).to_pydict()
    videos, jf = columns["video_id"], np.asarray(columns["jf"], dtype=float)
    low, high = interval_of_mean(videos, jf, seed=0)
    lower, median, upper = (100 * np.quantile(jf, [0.25, 0.5, 0.75])).tolist()
    return SentenceSpread(100 * float(jf.mean()), low, high, lower, median, upper, len(set(videos)))
