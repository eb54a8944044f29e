"""Every frame fails in at most one way, and the ways add up to what is lost: masks by hand, then drawn at random."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from glus.masks import encode_rle
from glus.metrics.failures import (
    Failure,
    FrameFailures,
    Losses,
    classify_frames,
    costliest,
    failure_split,
    find_failures,
    lost_by_kind,
)
from glus.metrics.grouping import Grouped
from glus.metrics.scoring import ExpressionScore, VideoTask, score_video
from glus.records.video import Expression, Video

HEIGHT, WIDTH = 12, 20
BOUNDS = {"found": 0.1, "fits": 0.5}


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


NOTHING = box(0, 0, 0, 0)
TARGET, OTHER = box(1, 1, 4, 5), box(1, 13, 4, 6)  # 20 and 24 pixels
SECOND = box(7, 1, 4, 10)  # 40 pixels


def judge(
    truth: dict[str, list[np.ndarray]], answer: list[np.ndarray], annotations: tuple[str, ...] = ("target",)
) -> tuple[ExpressionScore, FrameFailures]:
    """Scores one expression about `annotations` that was answered with `answer`, masks by frame."""
    names = tuple(f"{index:05d}" for index in range(len(answer)))
    task = VideoTask(
        dataset="synthetic",
        split="test",
        video=Video("v", len(answer), HEIGHT, WIDTH, names, "v", ()),
        expressions=(Expression("v", "0", "the target", (), annotations, None),),
        truth={
            name: {index: encode_rle(mask) for index, mask in enumerate(masks) if mask.any()}
            for name, masks in truth.items()
        },
        predictions={"0": {index: encode_rle(mask) for index, mask in enumerate(answer)}},
    )
    scores = score_video(task, 0.008, 0)
    return scores[0], find_failures(task, scores, **BOUNDS)[0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (TARGET, None),
        (box(1, 1, 4, 3), Failure.BOUNDARY),  # J 12/20
        (box(1, 1, 4, 3) & ~box(1, 1, 1, 1), Failure.BOUNDARY),  # J 11/20
        (box(1, 1, 2, 5), Failure.EXTENT),  # J 10/20: a part of it
        (box(1, 1, 9, 9), Failure.EXTENT),  # J 20/81: far more than it
        (TARGET | box(1, 13, 4, 5), Failure.EXTENT),  # IoU 20/40 with the target, 20/44 with the other
        (TARGET | OTHER, Failure.WRONG_OBJECT),  # 20/44 and 24/44
        (OTHER, Failure.WRONG_OBJECT),
        (box(1, 17, 2, 2), Failure.WRONG_OBJECT),  # IoU 4/24 with the other
        (box(1, 18, 2, 1), Failure.MISSED),  # 2/24 is on no object
        (box(9, 12, 3, 3), Failure.MISSED),  # on the background
        (box(4, 5, 3, 3), Failure.MISSED),  # J 1/28: touches the target
        (NOTHING, Failure.MISSED),  # the second frame is answered
        (~NOTHING, Failure.WRONG_OBJECT),  # 20/240 and 24/240
    ],
)
def test_kind_of_a_frame(answer: np.ndarray, kind: Failure | None) -> None:
    score, failures = judge({"target": [TARGET] * 2, "other": [OTHER] * 2}, [answer, TARGET])
    assert failures.kinds == (kind, None)
    assert (failures.num_visible, failures.num_missed) == (2, kind is Failure.MISSED)
    lost = lost_by_kind(score, failures)
    assert sum(lost.values()) == pytest.approx(1 - score.jf, abs=1e-12)
    assert costliest(lost) is kind


def test_without_other_objects_a_wrong_one_is_missed() -> None:
    score, failures = judge({"target": [TARGET] * 2}, [OTHER, OTHER])
    assert failures.kinds == (Failure.MISSED,) * 2
    split = failure_split([score], [failures])
    assert (split.overall.kinds[Failure.MISSED], split.overall.num_with_others, split.groups) == (100, 0, {})


def test_empty_is_blank_wherever_the_target_is_visible() -> None:
    truth = {"target": [TARGET, NOTHING, TARGET], "other": [OTHER] * 3}
    assert judge(truth, [NOTHING] * 3)[1].kinds == (Failure.EMPTY, None, Failure.EMPTY)
    score, failures = judge(truth, [NOTHING, OTHER, NOTHING])
    assert failures.kinds == (Failure.EMPTY, Failure.FALSE_ALARM, Failure.EMPTY)
    assert (failures.num_visible, failures.num_missed) == (2, 2)
    lost = lost_by_kind(score, failures)
    assert (lost[Failure.EMPTY], lost[Failure.FALSE_ALARM]) == pytest.approx((2 / 3, 1 / 3))
    assert judge(truth, [NOTHING, NOTHING, OTHER])[1].kinds == (Failure.MISSED, None, Failure.WRONG_OBJECT)


def test_a_full_frame_where_nothing_is_to_be_seen_loses_half() -> None:
    score, failures = judge({"target": [NOTHING, TARGET]}, [~NOTHING, TARGET])
    assert failures.kinds == (Failure.FALSE_ALARM, None)
    assert lost_by_kind(score, failures)[Failure.FALSE_ALARM] == 0.25  # J 0, F 1: neither has a boundary


def test_several_objects_are_one_target() -> None:
    truth = {"one": [TARGET], "two": [SECOND], "other": [OTHER]}
    assert judge(truth, [TARGET], ("one", "two"))[1].kinds == (Failure.EXTENT,)  # J 20/60
    assert judge(truth, [SECOND], ("one", "two"))[1].kinds == (Failure.BOUNDARY,)  # J 40/60
    assert judge(truth, [SECOND], ("one",))[1].kinds == (Failure.WRONG_OBJECT,)


def test_split_adds_up_for_every_family() -> None:
    def score(family: str, jf: float) -> ExpressionScore:
        return ExpressionScore("v", "0", family, (jf,), (jf,), True, {}, {})

    scores = [score("motion", 0.0), score("motion", 0.5), score("shape", 1.0), score("shape", 0.25)]
    kinds = [Failure.EMPTY, Failure.BOUNDARY, None, Failure.WRONG_OBJECT]
    grouped = failure_split(scores, [FrameFailures((kind,), (True,)) for kind in kinds])
    split = grouped.to_json("families")
    assert Grouped.from_json(split, "families", Losses.from_json) == grouped
    costs = {"empty": 25, "boundary": 12.5, "wrong_object": 18.75}
    nothing = dict.fromkeys(map(str, Failure), 0.0)
    assert split["kinds"] == nothing | costs and split["lost"] == 56.25
    assert split["families"] == {
        "motion": {"lost": 75, "kinds": nothing | {"empty": 50, "boundary": 25}, "num_expressions": 2}
        | {"num_with_others": 2},
        "shape": {"lost": 37.5, "kinds": nothing | {"wrong_object": 37.5}, "num_expressions": 2}
        | {"num_with_others": 2},
    }


def test_costliest_of_nothing_is_none_and_of_equals_the_first() -> None:
    nothing = dict.fromkeys(Failure, 0.0)
    assert costliest(nothing) is None
    assert costliest(nothing | {Failure.EXTENT: 0.2, Failure.EMPTY: 0.2}) is Failure.EMPTY


def test_plain_data_and_back() -> None:
    failures = FrameFailures((None, Failure.EXTENT, Failure.FALSE_ALARM), (True, True, False))
    assert FrameFailures.from_plain(asdict(failures)) == failures
    assert FrameFailures.from_plain({"kinds": [None, "extent", "false_alarm"], "visible": [1, 1, 0]}) == failures


def masks(num_frames: int) -> st.SearchStrategy[np.ndarray]:
    """Frames that are empty, full or blocks of 4 x 4 pixels."""
    blocks = arrays(np.bool_, (num_frames, HEIGHT // 4, WIDTH // 4))
    shown = st.lists(st.sampled_from((0, 1, 1)), min_size=num_frames, max_size=num_frames)
    return st.tuples(blocks, shown).map(
        lambda drawn: drawn[0].repeat(4, axis=1).repeat(4, axis=2) & np.array(drawn[1], dtype=bool)[:, None, None]
    )


@settings(max_examples=60)
@given(st.data())
def test_kinds_add_up_to_the_loss(data: st.DataObject) -> None:
    num_frames = data.draw(st.integers(1, 4))
    truth = {name: list(data.draw(masks(num_frames))) for name in ("one", "two", "three")}
    annotations = data.draw(st.sampled_from([("one",), ("one", "two"), ("one", "two", "three"), ()]))
    answer = data.draw(masks(num_frames))
    score, failures = judge(truth, list(answer), annotations)
    assert sum(lost_by_kind(score, failures).values()) == pytest.approx(1 - score.jf, abs=1e-12)
    assert [kind is None for kind in failures.kinds] == [j == f == 1 for j, f in zip(score.j, score.f, strict=True)]
    target = np.any([truth[name] for name in annotations] or [np.zeros_like(answer)], axis=0)
    assert failures.visible == tuple(target.any(axis=(1, 2)).tolist())
    for kind, visible, predicted in zip(failures.kinds, failures.visible, answer.any(axis=(1, 2)), strict=True):
        allowed: dict[tuple[bool, bool], set[Any]] = {
            (True, True): {None, *Failure} - {Failure.EMPTY, Failure.FALSE_ALARM},
            (True, False): {Failure.EMPTY, Failure.MISSED},
            (False, True): {Failure.FALSE_ALARM},
            (False, False): {None},
        }
        if not (visible and target.all(axis=(1, 2)).any()):  # a full target against nothing has F 1
            assert kind in allowed[visible, bool(predicted)]
    assert not {Failure.EMPTY, Failure.MISSED} <= {
        kind for kind, frame in zip(failures.kinds, answer, strict=True) if not frame.any()
    }


shares = st.floats(0, 1)


@given(st.lists(st.tuples(shares, shares, st.booleans(), st.booleans(), shares), min_size=1), shares, shares)
def test_kinds_of_any_frames_under_any_bounds(frames: list[tuple], found: float, fits: float) -> None:
    kinds = classify_frames(*zip(*frames, strict=True), found=min(found, fits), fits=max(found, fits))
    for kind, (j, f, *_, other_iou) in zip(kinds, frames, strict=True):
        assert (kind is None) == (j == f == 1)
        assert kind is not Failure.WRONG_OBJECT or other_iou > j
        assert kind is not Failure.BOUNDARY or j > max(found, fits)
        assert kind is not Failure.EXTENT or min(found, fits) <= j <= max(found, fits)
