"""Referents, shuffled partners, drawn baselines and completeness, on masks made by hand."""

import numpy as np
import pytest

from glus.errors import InputError
from glus.evaluation.completeness import require_complete
from glus.masks import encode_rle
from glus.metrics.protocols import mean_over_expressions
from glus.metrics.scoring import VideoTask, score_video, shuffled_partner
from glus.records.video import Expression, Video

SIZE = 12
VIDEO = Video("v", 1, SIZE, SIZE, ("00000",), "v", ())


def box(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


OBJECTS = {"small": box(1, 1, 2), "large": box(5, 5, 5)}  # 4 and 25 pixels
EMPTY = box(0, 0, 0)


def expression(name: str, *annotations: str) -> Expression:
    return Expression("v", name, f"the {name}", (), annotations, "appearance")


def task(answers: dict[Expression, np.ndarray], objects: dict[str, np.ndarray] = OBJECTS) -> VideoTask:
    return VideoTask(
        dataset="synthetic",
        split="test",
        video=VIDEO,
        expressions=tuple(answers),
        truth={name: {0: encode_rle(mask)} for name, mask in objects.items() if mask.any()},
        predictions={item.expression_id: {0: encode_rle(mask)} for item, mask in answers.items()},
    )


@pytest.mark.parametrize(
    ("annotations", "answer", "correct"),
    [
        (["small"], OBJECTS["small"], True),
        (["large"], OBJECTS["small"], False),
        # 4 of the small one's 4 pixels beat 20 of the large one's 25
        (["large"], OBJECTS["small"] | box(5, 5, 5) & ~box(9, 5, 5), False),
        (["small"], OBJECTS["small"] | box(5, 5, 5) & ~box(9, 5, 5), True),
        (["small"], EMPTY, False),
        (["small"], ~EMPTY, False),  # a mask over everything says nothing
        (["small", "large"], OBJECTS["small"], None),  # there is no wrong object
        (["absent"], OBJECTS["small"], None),
    ],
)
def test_referent_is_the_object_covered_by_the_largest_share(
    annotations: list[str], answer: np.ndarray, correct: bool | None
) -> None:
    [score] = score_video(task({expression("0", *annotations): answer}), 0.008, 0)
    assert score.referent_correct is correct


def test_partner_is_the_next_expression_about_other_objects() -> None:
    names = ("0", "a"), ("1", "a"), ("2",), ("3", "b"), ("4", "a", "b")  # the third speaks of nothing
    clip = a, _, nothing, b, both = tuple(expression(*name) for name in names)
    assert [shuffled_partner(item, clip) for item in clip] == [b, b, b, a, None]
    assert shuffled_partner(nothing, (both, nothing)) == both


def test_drawn_object_depends_on_the_seed_and_on_nothing_else() -> None:
    asked = expression("0", "small")
    alone = task({asked: EMPTY})
    among_others = task({expression("7", "large"): EMPTY, asked: EMPTY})
    drawn = [score_video(alone, 0.008, seed)[0].baselines["random_object"] for seed in range(20)]
    assert set(drawn) == {(0.0, 0.0), (1.0, 1.0)}
    assert [score_video(among_others, 0.008, seed)[1].baselines["random_object"] for seed in range(20)] == drawn


def test_absent_target_is_answered_by_the_empty_mask() -> None:
    [score] = score_video(task({expression("0", "absent"): EMPTY}, {"absent": EMPTY}), 0.008, 0)
    assert (score.j, score.f) == ((1.0,), (1.0,))
    assert score.baselines == {"empty": (1.0, 1.0), "union_of_objects": (1.0, 1.0)}  # no object to draw


def test_overlapping_annotations_are_united() -> None:
    objects = {"one": box(2, 2, 4), "two": box(4, 4, 4)}
    [score] = score_video(task({expression("0", "one", "two"): objects["one"] | objects["two"]}, objects), 0.008, 0)
    assert (score.mean_j, score.mean_f) == (1, 1)


def test_nothing_to_average_is_an_error() -> None:
    with pytest.raises(InputError, match="no expressions"):
        mean_over_expressions([])


def test_missing_frames_are_named_as_ranges_and_counted() -> None:
    expected = {("v", str(number)): 9 for number in range(8)}
    found = {key: range(9) for key in expected} | {("v", "3"): [0, 1, 4, 6, 7, 8]}
    with pytest.raises(InputError, match=r"1 of 8 expressions .* video v, expression 3: frames 2-3, 5 missing\. Run"):
        require_complete(expected, found, "here")
    with pytest.raises(InputError, match=r"here: 8 of 8 .*; and 3 more\."):
        require_complete(expected, {}, "here")
    require_complete(expected, {key: range(9) for key in expected}, "here")
