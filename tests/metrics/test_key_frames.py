"""J&F by the frame that propagation starts from, computed by hand."""

import pytest

from glus.metrics.key_frames import compared_jf, key_frame_regret
from glus.metrics.scoring import ExpressionScore

ALL = {"first_frame": 0.2, "random_frame": 0.5, "oracle_frame": 0.9}


def score(selected: float, others: dict[str, float], family: str | None = "motion") -> ExpressionScore:
    """An expression of one frame whose J and F are equal."""
    frames = {way: (value,) for way, value in others.items()}
    return ExpressionScore("v", "0", family, (selected,), (selected,), None, {}, frames, frames)


def test_regret_and_the_gap_that_selection_closes() -> None:
    low = {"first_frame": 0.0, "random_frame": 0.1, "oracle_frame": 0.5}
    found = key_frame_regret([score(0.8, ALL), score(0.6, low, "shape")])
    assert found is not None
    families = {name: of_family.to_json() for name, of_family in found.groups.items()}
    assert found.overall.to_json() == pytest.approx(
        {"num_expressions": 2, "first": 10, "random": 30, "selected": 70, "oracle": 70, "regret": 0, "gap_closed": 1}
    )
    assert families["motion"] == pytest.approx(
        {"num_expressions": 1, "first": 20, "random": 50, "selected": 80, "oracle": 90, "regret": 10}
        | {"gap_closed": 6 / 7}
    )
    # The oracle's frame is the best one segmented on its own: what follows from another can be better.
    assert (families["shape"]["regret"], families["shape"]["gap_closed"]) == pytest.approx((-10, 1.2))


def test_j_and_f_count_alike() -> None:
    item = ExpressionScore("v", "0", None, (1, 1), (1, 1), None, {}, {"w": (0.5, 0.25)}, {"w": (1, 0.25)})
    assert compared_jf(item, "w") == pytest.approx((0.375 + 0.625) / 2)


def test_only_expressions_that_were_predicted_from_every_start() -> None:
    partly = {"oracle_frame": 1.0}
    regret = key_frame_regret([score(0.8, ALL), score(0.0, {}), score(0.0, partly, "shape"), score(0.6, ALL, None)])
    assert regret is not None and set(regret.groups) == {"motion"}
    assert regret.overall.num_expressions == 2
    assert (regret.overall.jf.selected, regret.overall.jf.oracle) == (pytest.approx(70), 90)


@pytest.mark.parametrize(
    ("known", "regret", "gap_closed"),
    [
        ({"first_frame": 0.2}, None, None),
        ({"oracle_frame": 0.9}, 10, None),
        ({"first_frame": 0.895, "oracle_frame": 0.9}, 10, None),  # half a point between them
        ({"first_frame": 0.88, "oracle_frame": 0.9}, 10, -4),
        ({"first_frame": 0.9, "oracle_frame": 0.7}, -10, None),
    ],
)
def test_what_cannot_be_said_is_null(known: dict[str, float], regret: float | None, gap_closed: float | None) -> None:
    found = key_frame_regret([score(0.8, known)])
    assert found is not None and found.overall.jf.random is None
    worth = found.overall.jf.regret, found.overall.jf.gap_closed
    assert worth == (pytest.approx(regret), pytest.approx(gap_closed))


def test_nothing_to_compare() -> None:
    assert key_frame_regret([]) is None
    assert key_frame_regret([score(0.8, {"memory_off": 0.1})]) is None
    assert key_frame_regret([score(0.8, {"first_frame": 0.1}), score(0.8, {"oracle_frame": 0.1})]) is None
