"""Validation metrics by hand."""

import numpy as np
import pytest

from glus.metrics.by_key_frame import ByKeyFrame
from glus.training.selector.validation import ScoredExpression, rank_correlation, select_key_frame, validate


def test_metrics_by_hand() -> None:
    scored = [
        ScoredExpression("grey", "a", np.array([0.0, 0.5, 0.4]), np.array([0.0, 0.6, 0.9]), ByKeyFrame(10, 20, 50, 60)),
        ScoredExpression(
            "plain", "b", np.array([0.3, 0.2, 0.1]), np.array([0.5, 0.5, 0.5]), ByKeyFrame(80, 80, 80, 80.5)
        ),
    ]
    metrics = validate(scored).to_json("families")
    assert metrics["num_expressions"] == 2
    assert metrics["l1"] == pytest.approx((0.6 / 3 + 0.9 / 3) / 2)
    assert metrics["l1_constant"] == pytest.approx((0.5 + 0.1 + 0.4) / 6)
    assert metrics["spearman"] == pytest.approx(0.5)  # ranks 1 3 2 against 1 2 3; the other's labels are all equal
    assert metrics["pseudo_iou"] == pytest.approx({"first": 0.25, "random": 0.5, "selected": 0.55, "oracle": 0.7})
    assert metrics["regret"] == pytest.approx(0.15)
    assert metrics["jf"] == pytest.approx({"first": 45, "random": 50, "selected": 65, "oracle": 70.25})
    assert metrics["gap_closed"] == pytest.approx(20 / 25.25)
    assert metrics["families"]["grey"]["gap_closed"] == pytest.approx(0.8)
    assert metrics["families"]["plain"]["gap_closed"] is None  # half a point: nothing to close
    assert set(metrics["families"]) == {"grey", "plain"}
    assert metrics["families"]["grey"]["pseudo_iou"]["selected"] == pytest.approx(0.6)
    assert metrics["families"]["plain"]["spearman"] is None


def test_ties_go_to_the_earliest_frame() -> None:
    assert select_key_frame(np.array([0.1, 0.7, 0.7, 0.2])) == 1
    assert select_key_frame(np.zeros(4)) == 0


def test_equal_scores_rank_nothing() -> None:
    assert rank_correlation(np.zeros(3), np.array([0.1, 0.2, 0.3])) == 0
    assert rank_correlation(np.array([3.0, 2.0, 2.0]), np.array([1.0, 0.5, 0.5])) == pytest.approx(1)
