"""What the choice of the key frame is worth: J&F from the selected, the first, a random and the best frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from glus.metrics.by_key_frame import ByKeyFrame
from glus.metrics.grouping import Grouped, by_family, percent
from glus.metrics.scoring import ExpressionScore

# Key frame -> the comparison that is predicted from it; the main predictions have the selected one.
SOURCES = {"first": "first_frame", "random": "random_frame", "oracle": "oracle_frame"}


@dataclass(frozen=True)
class KeyFrameRegret:
    """J&F in percent by the key frame, over the same expressions (Tables 5, B).

    The oracle's frame is the one whose mask, segmented on its own, is best. What is propagated from it need not be, so
    that the regret can be negative.
    """

    num_expressions: int
    jf: ByKeyFrame

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> KeyFrameRegret:
        """What `to_json` wrote."""
        jf = ByKeyFrame(values["first"], values["random"], values["selected"], values["oracle"])
        return cls(values["num_expressions"], jf)

    def to_json(self) -> dict[str, Any]:
        """Plain data; what is not known is null."""
        worth = {"regret": self.jf.regret, "gap_closed": self.jf.gap_closed}
        return {"num_expressions": self.num_expressions, **asdict(self.jf), **worth}


def key_frame_regret(scores: Iterable[ExpressionScore]) -> Grouped[KeyFrameRegret] | None:
    """J&F from each key frame, over the expressions that were predicted from every known one.

    None where nothing was predicted from another key frame than the selected one.
    """
    scores = list(scores)
    known = {name: way for name, way in SOURCES.items() if any(way in score.comparisons for score in scores)}
    compared = [score for score in scores if known and all(way in score.comparisons for way in known.values())]
    if not compared:
        return None
    regret = partial(_regret, known=known)
    return Grouped(regret(compared), by_family(compared, lambda score: score.family, regret))


def _regret(scores: Sequence[ExpressionScore], known: Mapping[str, str]) -> KeyFrameRegret:
    jf: dict[str, float | None] = dict.fromkeys(SOURCES)
    for name, way in known.items():
        jf[name] = percent(compared_jf(score, way) for score in scores)
    return KeyFrameRegret(len(scores), ByKeyFrame(**jf, selected=percent(score.jf for score in scores)))


def compared_jf(score: ExpressionScore, way: str) -> float:
    """J&F of an expression that was predicted in another way, 0..1."""
    return float(np.mean(score.comparisons[way]) + np.mean(score.comparisons_f[way])) / 2
