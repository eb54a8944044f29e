"""ReVOS's averaging: two kinds of expressions apart, each expression rounded first, and R and A beside J and F."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from glus.errors import InputError
from glus.metrics.scoring import ExpressionScore

REFERRING, REASONING, ABSENT = KINDS = ("referring", "reasoning", "absent")  # type_id 0, 1, 2
DECIMALS = 2  # of an expression's percent


def average(scores: Sequence[ExpressionScore]) -> dict[str, Any]:
    """Referring, reasoning and overall, as the official script averages them. In percent.

    Each expression is rounded to two decimals before anything is averaged; overall is the mean of the two kinds, not
    the mean over expressions. Expressions without a target are scored but enter no overall number.

    Returns:
        `J`, `F`, `JF` and `R_*`, `A_*` in each reading (see `glus.metrics.robustness`), overall; `num_expressions`;
        the same for each kind in `families`.

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
    for kind in (REFERRING, REASONING):
        if not families[kind]:
            raise InputError(
                f"There are no {kind} expressions to score, and ReVOS's overall numbers are means of both."
            )
    means = {kind: _mean_rounded(of_kind) for kind, of_kind in families.items() if of_kind}
    both = means[REFERRING], means[REASONING]
    overall = {name: (both[0][name] + both[1][name]) / 2 for name in both[0] if name != "num_expressions"}
    return {**overall, "num_expressions": len(scores), "families": means}


def _mean_rounded(scores: Sequence[ExpressionScore]) -> dict[str, Any]:
    j, f = _percent([score.mean_j for score in scores]), _percent([score.mean_f for score in scores])
    measures = {name: _percent([score.robustness[name] for score in scores]) for name in scores[0].robustness}
    return {"J": j, "F": f, "JF": (j + f) / 2, **measures, "num_expressions": len(scores)}


def _percent(values: Sequence[float]) -> float:
    return float(np.mean(np.round(100 * np.asarray(values), DECIMALS)))
