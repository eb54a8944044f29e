"""When and whether targets are found, worked by hand."""

import pytest

from glus.metrics.presence import has_target, is_empty, presence, temporal_iou, video_iou
from glus.metrics.scoring import ExpressionScore


def scored(j: list[float], target_px: list[int], predicted_px: list[int | None]) -> ExpressionScore:
    f = (0.0,) * len(j)
    return ExpressionScore(
        "v", "0", None, tuple(j), f, None, target_px=tuple(target_px), predicted_px=tuple(predicted_px)
    )


# frames:            both  both  target  mask  neither
LATE = scored([0.5, 0.25, 0.0, 0.0, 1.0], [9, 9, 9, 0, 0], [4, 4, 0, 4, 0])
NOWHERE = scored([1.0, 1.0], [0, 0], [0, 0])
ALARM = scored([1.0, 0.0], [0, 0], [0, 3])
SILENT = scored([0.0, 0.0], [5, 0], [0, 0])


@pytest.mark.parametrize(
    ("score", "t_iou", "v_iou"),
    [
        (LATE, 2 / 4, 0.75 / 4),
        (NOWHERE, 1, 1),
        (ALARM, 0, 0),
        (SILENT, 0, 0),
        (scored([0.5, 1.0, 1.0], [9, 0, 0], [9, 0, None]), 1 / 2, 0.5 / 2),  # the missing frame is in the union
        (scored([0.0, 0.0], [0, 0], [None, None]), 0, 0),  # a missing video has 0, whatever it should have shown
    ],
)
def test_tiou_and_viou(score: ExpressionScore, t_iou: float, v_iou: float) -> None:
    assert (temporal_iou(score), video_iou(score)) == pytest.approx((t_iou, v_iou))


def test_shares_of_empty_and_of_given_answers() -> None:
    found = presence([LATE, NOWHERE, ALARM, SILENT])
    assert found == pytest.approx(
        {
            "tIoU": 100 * (0.5 + 1 + 0 + 0) / 4,
            "vIoU": 100 * (0.75 / 4 + 1) / 4,
            "absent_empty": 50,  # of NOWHERE and ALARM
            "present_answered": 50,  # of LATE and SILENT
        }
    )
    assert set(presence([LATE])) == {"tIoU", "vIoU", "present_answered"}
    assert set(presence([ALARM])) == {"tIoU", "vIoU", "absent_empty"}


def test_a_missing_answer_is_no_empty_one() -> None:
    missing = scored([0.0], [0], [None])
    assert not has_target(missing)
    assert not is_empty(missing)
    assert presence([missing])["absent_empty"] == 0


def test_scores_of_older_files_say_nothing_of_presence() -> None:
    assert presence([ExpressionScore("v", "0", None, (1.0,), (1.0,), None)]) == {}
