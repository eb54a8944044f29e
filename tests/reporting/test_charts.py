"""Distributions by hand, and that the pictures of a split show what they should."""

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glus.evaluation.results import FailureSplit, ScoredSplit
from glus.metrics.failures import Failure, FrameFailures, failure_split
from glus.metrics.key_frames import key_frame_regret
from glus.metrics.protocols import average, protocol_of
from glus.metrics.scoring import ExpressionScore
from glus.reporting.charts import draw_charts, draw_time_curves
from glus.reporting.distributions import EDGES, histograms, time_curves
from glus.reporting.frame_curves import draw_frame_curves
from glus.reporting.verdicts import failure_rows, regret_rows


def score(j: list[float], family: str | None = "motion", **others: list[float]) -> ExpressionScore:
    """An expression whose F is 1 in every frame."""
    ones = (1.0,) * len(j)
    ways = {way: tuple(values) for way, values in others.items()}
    return ExpressionScore("v", "0", family, tuple(j), ones, None, {}, ways, dict.fromkeys(ways, ones))


def texts(svg: str) -> list[str]:
    return [text for text in ElementTree.fromstring(svg).itertext() if text.strip()]


def result_of(scores: list[ExpressionScore], kinds: list[tuple[Failure | None, ...]]) -> ScoredSplit:
    failures = [FrameFailures(of_frames, (True,) * len(of_frames)) for of_frames in kinds]
    return ScoredSplit(
        average(protocol_of("synthetic"), "synthetic", "test", scores),
        FailureSplit(failure_split(scores, failures), found=0.1, fits=0.5),
        key_frame_regret=key_frame_regret(scores),
    )


def test_histograms_count_expressions_by_their_mean_and_every_frame() -> None:
    j, f = histograms([score([0.0, 1.0]), score([0.5, 0.5, 0.95]), score([1.0])])
    bins = {index: (int(j.expressions[index]), int(j.frames[index])) for index in np.flatnonzero(j.frames)}
    assert bins == {0: (0, 1), 10: (1, 2), 19: (1, 3)}
    assert (j.expressions[13], j.expressions.sum(), j.frames.sum()) == (1, 3, 6)
    assert (f.measure, f.expressions[-1], f.frames[-1]) == ("F", 3, 6)


@given(st.integers(0, 20))
def test_a_value_on_an_edge_belongs_to_the_bin_above_it(edge: int) -> None:
    for value in (EDGES[edge], edge / 20, np.nextafter(edge / 20, 2)):
        assert np.flatnonzero(histograms([score([float(value)])])[0].frames) == min(edge, 19)


def test_time_curves_spread_every_clip_over_the_same_time() -> None:
    curves = time_curves([score([0.0, 1.0]), score([1.0, 1.0, 0.0], "shape"), score([0.5], "shape")])
    assert list(curves) == ["motion", "shape", "all"]
    assert curves["motion"] == pytest.approx(np.linspace(0, 1, 21))
    assert curves["shape"][[0, 10, 15, 20]] == pytest.approx([0.75, 0.75, 0.5, 0.25])
    assert curves["all"][[0, 20]] == pytest.approx([0.5, 0.5])


def test_charts_name_families_and_what_there_is() -> None:
    ways = {"first_frame": [0.0, 0.0], "oracle_frame": [1.0, 1.0]}
    scores = [score([0.0, 0.0], **ways), score([0.6, 1.0], "shape", **ways)]
    result = result_of(scores, [(Failure.WRONG_OBJECT,) * 2, (Failure.BOUNDARY, None)])
    charts = draw_charts(scores, result)
    assert {"motion", "shape", "all", "J&F", "wrong object", "boundary", "50", "90", "10", "70", "25", "5"} <= set(
        texts(charts["failures"])
    )
    assert not {"empty answer", "missed frames", "false alarm"} & set(texts(charts["failures"]))
    assert {"motion", "shape", "all", "first frame", "oracle"} <= set(texts(charts["key_frames"]))
    assert "random frame" not in texts(charts["key_frames"])
    assert {"motion", "shape"} <= set(texts(charts["time"]))
    assert {"J", "F", "expressions", "frames"} <= set(texts(charts["histograms"]))
    assert draw_charts(scores, result) == charts  # to the byte


def test_charts_of_a_set_without_families_and_comparisons() -> None:
    scores = [score([0.0], None), score([1.0], None)]
    charts = draw_charts(scores, result_of(scores, [(Failure.EMPTY,), (None,)]))
    assert set(charts) == {"failures", "histograms", "time"}
    assert "all" in texts(charts["failures"]) and "all" in texts(charts["time"])


@pytest.mark.parametrize(("num_families", "lines", "columns"), [(1, 1, 1), (5, 1, 5), (6, 2, 3), (9, 2, 5)])
def test_every_family_has_a_panel_over_a_labelled_axis(num_families: int, lines: int, columns: int) -> None:
    scores = [score([0.0, 1.0], f"family {number}") for number in range(num_families)]
    shown = texts(draw_time_curves(time_curves(scores)))
    assert {f"family {number}" for number in range(num_families)} <= set(shown)
    assert shown.count("100") == lines + columns  # J at the left of each line, time below each column


def test_rows_are_ordered_and_end_with_all() -> None:
    ways = {"first_frame": [0.5]}
    scores = [score([0.2], **ways), score([0.8], "shape", **ways)]
    result = result_of(scores, [(Failure.EXTENT,), (Failure.BOUNDARY,)])
    assert result.failures and result.key_frame_regret
    losses = failure_rows(result.failures.losses)
    assert [row.name for row in losses] == ["shape", "motion", "all"]
    assert [row.name for row in regret_rows(result.key_frame_regret)] == ["shape", "motion", "all"]
    for row in losses:
        assert row.result.kept + sum(row.result.kinds.values()) == pytest.approx(100)


def test_frame_curves_mark_failures_and_name_the_ways() -> None:
    kinds = (None, Failure.MISSED, Failure.MISSED)
    shown = texts(draw_frame_curves([0.1, 0.2, 0.3], {"on": [1, 0, 0], "off": [0, 0, 0]}, kinds, 1, [2]))
    assert {"score", "J", "on", "off", "missed frames"} <= set(shown) and "boundary" not in shown
    alone = texts(draw_frame_curves([], {"predicted": [1, 0, 0]}, kinds))
    assert "J" in alone and not {"score", "predicted"} & set(alone)
    assert "J" not in texts(draw_frame_curves([0.1, 0.2], {}))
