"""The generated set's grey frames: there only memory, or a key frame elsewhere, tells which object is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from glus.metrics.grouping import percent
from glus.metrics.scoring import ExpressionScore
from glus.records.video import Video


@dataclass(frozen=True)
class GreyComparison:
    """Masks as predicted, beside those predicted in another way.

    Attributes:
        family: of the expressions that are compared.
        way: name of the other way to predict.
        title: of the comparison.
        with_name: the result as predicted, by its name in `metrics/evaluate.json`.
        with_title: what is said of it.
        without_name: the result in the other way.
        without_title: what is said of it.
        label: of the masks as predicted, in pictures.
    """

    family: str
    way: str
    title: str
    with_name: str
    with_title: str
    without_name: str
    without_title: str
    label: str

    def scores(self, scores: Iterable[ExpressionScore]) -> list[ExpressionScore]:
        """Those of its family that were predicted in both ways."""
        return [score for score in scores if score.family == self.family and self.way in score.comparisons]


GREY_COMPARISONS = (
    GreyComparison(
        family="greyed",
        way="memory_off",
        title="Objects turn grey",
        with_name="greyed_memory_on",
        with_title="memory on",
        without_name="greyed_memory_off",
        without_title="memory off",
        label="memory on",
    ),
    GreyComparison(
        family="starts_grey",
        way="first_frame",
        title="Clip starts grey",
        with_name="starts_grey_key_frame",
        with_title="from the key frame",
        without_name="starts_grey_first_frame",
        without_title="from the first frame",
        label="from key frame",
    ),
)


def score_grey_frames(scores: Iterable[ExpressionScore], videos: Mapping[str, Video]) -> dict[str, float]:
    """J in percent on the grey frames, by the names in `GREY_COMPARISONS`.

    Frames, then a plain mean over the family's expressions; comparisons that were not predicted are left out.
    """
    scores = list(scores)
    result = {}
    for comparison in GREY_COMPARISONS:
        compared = [
            (score, list(frames))
            for score in comparison.scores(scores)
            if (frames := videos[score.video_id].ambiguous_frames)
        ]
        if compared:
            result[comparison.with_name] = percent(np.mean(np.take(score.j, frames)) for score, frames in compared)
            result[comparison.without_name] = percent(
                np.mean(np.take(score.comparisons[comparison.way], frames)) for score, frames in compared
            )
    return result
