"""J&F by window stride and the like, computed by hand."""

import pytest

from glus.metrics.compared_ways import WINDOW_STRIDE, WayScores, score_ways
from glus.metrics.scoring import ExpressionScore


def score(main: float, strides: dict[str, float], family: str) -> ExpressionScore:
    frames = {f"window_stride_{stride}": (value,) for stride, value in strides.items()}
    return ExpressionScore("v", "0", family, (main,), (main,), None, {}, frames, frames)


def test_means_over_expressions_that_were_predicted_with_every_stride() -> None:
    found = score_ways(
        [
            score(0.8, {"2": 0.8, "4": 0.6}, "motion"),
            score(0.6, {"2": 0.7, "4": 0.6}, "shape"),
            score(0.0, {"2": 0.0}, "shape"),
        ],
        WINDOW_STRIDE,
    )
    assert found is not None
    assert found.overall.to_json() == {
        "num_expressions": 2,
        "main": pytest.approx(70),
        "ways": {"2": pytest.approx(75), "4": pytest.approx(60)},
    }
    assert found.groups["shape"].ways == {"2": pytest.approx(70), "4": pytest.approx(60)}
    assert WayScores.from_json(found.overall.to_json()) == found.overall


def test_nothing_to_compare() -> None:
    assert score_ways([score(0.8, {}, "motion")], WINDOW_STRIDE) is None
