"""ReVOS's averaging: two kinds of expressions apart, each expression rounded first, and R and A beside J and F."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glus.errors import InputError
from glus.metrics.grouping import Grouped
from glus.metrics.results import Scores
from glus.metrics.scoring import ExpressionScore

REFERRING, REASONING = AVERAGED = ("referring", "reasoning")  # type_id 0, 1
KINDS = (*AVERAGED, "absent")  # type_id 2
DECIMALS = 2  # of an expression's percent


def average(scores: Sequence[ExpressionScore]) -> Grouped[Scores]:
    """Referring, reasoning and overall, as the official script averages them. In percent.

    Each expression is rounded to two decimals before anything is averaged; overall is the mean of the two kinds, not
    the mean over expressions. Expressions without a target are scored but enter no overall number.

    Returns:
        Scores with R and A in each reading (see `glus.metrics.robustness`), overall and of each kind.

    Raises:
        InputError: an expression of unknown kind, or there are no referring or no reasoning expressions.
    """
    for score in scores:
        if score.family not in KINDS:
            raise InputError(
                f"video {score.video_id}, expression {score.expression_id} has no type_id of ReVOS (0 referring,"
                f" 1 reasoning, 2 absent target), so it cannot be averaged. Stage the published file again."
            )
    families = {kind: [score for score in scores if score.family == kind] for kind in KINDS}
    for kind in AVERAGED:
        if not families[kind]:
            raise InputError(
                f"There are no {kind} expressions to score, and ReVOS's overall numbers are means of both."
            )
    means = {kind: _mean_rounded(of_kind) for kind, of_kind in families.items() if of_kind}
    return Grouped(_mean_of(means[REFERRING], means[REASONING], len(scores)), means)


def _mean_of(one: Scores, other: Scores, num_expressions: int) -> Scores:
    robustness = {name: (value + other.further[name]) / 2 for name, value in one.further.items()}
    return Scores((one.j + other.j) / 2, (one.f + other.f) / 2, (one.jf + other.jf) / 2, num_expressions, robustness)


def _mean_rounded(scores: Sequence[ExpressionScore]) -> Scores:
    j, f = _percent([score.mean_j for score in scores]), _percent([score.mean_f for score in scores])
    robustness = {name: _percent([score.robustness[name] for score in scores]) for name in scores[0].robustness}
    return Scores(j, f, (j + f) / 2, len(scores), robustness)


def _percent(values: Sequence[float]) -> float:
    return float(np.mean(np.round(100 * np.asarray(values), DECIMALS)))
