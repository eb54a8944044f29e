"""What the choice of the key frame is worth: J&F from the selected, the first, a random and the best frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glus.metrics.scoring import ExpressionScore

# Start of a track -> the comparison that is predicted from there; the main predictions start from the selected frame.
STARTS = {"first": "first_frame", "random": "random_frame", "oracle": "oracle_frame"}
SMALLEST_GAP = 1.0  # points of J&F between first and oracle, below which no share of it is given


def key_frame_regret(scores: Iterable[ExpressionScore]) -> dict[str, Any] | None:
    """J&F in percent from each start, over the expressions that were predicted from every known one (Tables 5, B).

    The oracle's frame is the one whose mask, segmented on its own, is best. What is propagated from it need not be, so
    that the regret can be negative.

    Returns:
        `num_expressions`, `first`, `random`, `selected`, `oracle` (a start that was not predicted is null), `regret`
        (oracle - selected, points), `gap_closed` ((selected - first) / (oracle - first); null where that gap is below
        a point), and the same under `families`. None where nothing was predicted from another start.
    """
    scores = list(scores)
    known = {start: way for start, way in STARTS.items() if any(way in score.comparisons for score in scores)}
    compared = [score for score in scores if known and all(way in score.comparisons for way in known.values())]
    if not compared:
        return None
    families = sorted({score.family for score in compared if score.family is not None})
    return {
        **_regret(compared, known),
        "families": {name: _regret([score for score in compared if score.family == name], known) for name in families},
    }


def _regret(scores: Sequence[ExpressionScore], known: Mapping[str, str]) -> dict[str, Any]:
    jf: dict[str, float | None] = dict.fromkeys(STARTS)
    for start, way in known.items():
        jf[start] = _percent(compared_jf(score, way) for score in scores)
    selected, first, oracle = _percent(score.jf for score in scores), jf["first"], jf["oracle"]
    gap = oracle - first if oracle is not None and first is not None else 0.0
    return {
        **jf,
        "num_expressions": len(scores),
        "selected": selected,
        "regret": oracle - selected if oracle is not None else None,
        "gap_closed": (selected - first) / gap if first is not None and gap >= SMALLEST_GAP else None,
    }


def compared_jf(score: ExpressionScore, way: str) -> float:
    """J&F of an expression that was predicted in another way, 0..1."""
    return float(np.mean(score.comparisons[way]) + np.mean(score.comparisons_f[way])) / 2


def _percent(values: Iterable[float]) -> float:
    return 100 * float(np.mean([*values]))
