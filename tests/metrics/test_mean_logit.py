"""Empty answers below a mean logit, computed by hand."""

import numpy as np
import pytest

from glus.masks import mean_logit
from glus.metrics.mean_logit import ThresholdScores, score_thresholds
from glus.metrics.scoring import ExpressionScore


def score(j: float, logit: float | None, target_px: int, empty: float) -> ExpressionScore:
    return ExpressionScore(
        "v", "0", None, (j,), (j,), None,
        baselines={"empty": (empty, empty)}, target_px=(target_px,), predicted_px=(0 if logit is None else 9,),
        mean_logit=logit,
    )  # fmt: skip


FOUND, DOUBTED = score(0.9, 6.0, 9, 0.0), score(0.5, 1.5, 9, 0.0)
FALSE_ALARM, RIGHTLY_EMPTY = score(0.0, 0.7, 0, 1.0), score(1.0, None, 0, 1.0)


def test_what_each_threshold_trades():
    by_threshold = {row.threshold: row for row in score_thresholds([FOUND, DOUBTED, FALSE_ALARM, RIGHTLY_EMPTY])}

    def row(jf: float, absent: float, present: float) -> tuple[float, ...]:
        return pytest.approx((jf, absent, present))

    values = {key: (found.jf, found.absent_empty, found.present_answered) for key, found in by_threshold.items()}
    assert values[0.0] == values[0.5] == row(100 * (0.9 + 0.5 + 0 + 1) / 4, 50, 100)
    assert values[1.0] == row(100 * (0.9 + 0.5 + 1 + 1) / 4, 100, 100)  # the false alarm is taken back
    assert values[2.0] == values[4.0] == row(100 * (0.9 + 0 + 1 + 1) / 4, 100, 50)
    assert values[8.0] == row(50, 100, 0)
    assert ThresholdScores.from_json(by_threshold[1.0].to_json()) == by_threshold[1.0]


@pytest.mark.parametrize("scores", [[FOUND, DOUBTED], [FALSE_ALARM, RIGHTLY_EMPTY], []])
def test_nothing_is_traded_where_all_have_a_target_or_none(scores):
    assert score_thresholds(scores) == []


def test_the_mean_is_of_what_is_in_the_mask():
    assert mean_logit(np.array([[1.0, -5.0], [3.0, 0.0]], np.float32)) == 2.0
    assert mean_logit(np.array([[-1.0, np.nan]], np.float32)) is None
