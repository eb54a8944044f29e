"""J&F by window stride, computed by hand."""

import pytest

from glus.metrics.scoring import ExpressionScore
from glus.metrics.window_strides import StrideScores, score_window_strides


def score(main: float, strides: dict[str, float], family: str) -> ExpressionScore:
    frames = {f"window_stride_{stride}": (value,) for stride, value in strides.items()}
    return ExpressionScore("v", "0", family, (main,), (main,), None, {}, frames, frames)


def test_means_over_expressions_that_were_predicted_with_every_stride() -> None:
    found = score_window_strides(
        [
            score(0.8, {"2": 0.8, "4": 0.6}, "motion"),
            score(0.6, {"2": 0.7, "4": 0.6}, "shape"),
            score(0.0, {"2": 0.0}, "shape"),
        ]
    )
    assert found is not None
    assert found.overall.to_json() == {
        "num_expressions": 2,
        "main": pytest.approx(70),
        "strides": {"2": pytest.approx(75), "4": pytest.approx(60)},
    }
    assert found.groups["shape"].strides == {"2": pytest.approx(70), "4": pytest.approx(60)}
    assert StrideScores.from_json(found.overall.to_json()) == found.overall


def test_nothing_to_compare() -> None:
    assert score_window_strides([score(0.8, {}, "motion")]) is None
