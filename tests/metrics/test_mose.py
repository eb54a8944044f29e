"""MOSEv2's scores by hand, and by what its scorer printed."""

import numpy as np
import pytest

from glus.masks import encode_rle
from glus.metrics import boundary_f
from glus.metrics.boundary import boundary_f_at_radii
from glus.metrics.mose import adaptive_f, measures, returns, smoothed_j
from glus.metrics.spans import Clip, Spans, count_overlaps, read_spans

HD = Clip(1, 1080, 1920)
SMALL = Clip(10, 150, 200)  # a diagonal of 250 px: DAVIS's radius is 2


def square(clip: Clip, top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((clip.height_px, clip.width_px), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def track(masks: dict[int, np.ndarray], clip: Clip) -> Spans:
    return read_spans([(index, encode_rle(mask)) for index, mask in masks.items()], clip)


def f_of(side: int, shift: int) -> tuple[float, float, float]:
    """Adaptive, classical and DAVIS's F of a square that is shifted to the right."""
    masks = square(HD, 200, 200, side), square(HD, 200, 200 + shift, side)
    pred, gt = (track({0: mask}, HD) for mask in masks)
    adaptive, classical = adaptive_f(pred, gt, HD, np.array([side * side]))
    return adaptive[0], classical[0], boundary_f(masks[0][None], masks[1][None])[0]


def test_a_small_object_has_a_small_radius() -> None:
    """20 x 20, shifted by 5 px: a radius of 2 of the possible 18."""
    adaptive, classical, davis = f_of(20, 5)
    assert adaptive == pytest.approx(0.50, abs=0.005)
    assert classical == davis == 1


def test_the_classical_radius_of_a_large_object_is_not_rounded_up() -> None:
    """600 x 600, shifted by 18 px: 17.6 px against DAVIS's 18."""
    adaptive, classical, davis = f_of(600, 18)
    assert adaptive == classical == pytest.approx(0.51, abs=0.005)
    assert davis == 1


def test_a_radius_in_whole_pixels_is_the_disk_of_davis() -> None:
    random = np.random.default_rng(0)
    pred, gt = (np.kron(random.random((10, 15, 20)) < 0.3, np.ones((1, 10, 10))).astype(bool) for _ in range(2))
    tracks = [track(dict(enumerate(masks)), SMALL) for masks in (pred, gt)]
    radii = np.array([1, 2, 3, 1, 2, 3, 4, 4, 1, 2], dtype=float)
    found = boundary_f_at_radii(*tracks, SMALL, radii)
    for index, radius in enumerate(radii):
        # 1 px and more is a radius in pixels
        assert found[index] == boundary_f(pred[index : index + 1], gt[index : index + 1], bound_th=radius)[0]


@pytest.mark.parametrize("radius", [0.4, 0.58, 0.8, 1.4, 2.5, 5.77, 8.2])
def test_a_disk_between_pixels_lies_where_scikit_image_puts_it(radius: float) -> None:
    """By the plain definition: pixels at -r, -r + 1, ... and an anchor at half their number.

    Where none lies in the disk, OpenCV 5.0.0's `dilate` moves everything down and right by a pixel (seen).
    """
    random = np.random.default_rng(1)
    pred, gt = (np.kron(random.random((8, 12)) < 0.3, np.ones((5, 5))).astype(bool) for _ in range(2))
    places = np.arange(-radius, radius + 1)
    disk = places[:, None] ** 2 + places**2 <= radius**2
    disk[0, 0] |= not disk.any()
    anchor = len(places) // 2

    def boundary(mask: np.ndarray) -> np.ndarray:
        edge = np.zeros_like(mask)
        edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
        edge[:-1] |= mask[:-1] ^ mask[1:]
        edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
        return edge

    def near(edge: np.ndarray) -> np.ndarray:
        padded = np.pad(edge, len(places))
        found = np.zeros_like(edge)
        for y, x in zip(*np.nonzero(disk), strict=True):
            top, left = len(places) + y - anchor, len(places) + x - anchor
            found |= padded[top : top + edge.shape[0], left : left + edge.shape[1]]
        return found

    edges = boundary(pred), boundary(gt)
    precision = (edges[0] & near(edges[1])).sum() / edges[0].sum()
    recall = (edges[1] & near(edges[0])).sum() / edges[1].sum()
    clip = Clip(1, 40, 60)
    [found] = boundary_f_at_radii(*(track({0: mask}, clip) for mask in (pred, gt)), clip, np.array([radius]))
    assert found == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-12)


def test_j_is_smoothed_by_a_pixel() -> None:
    clip = Clip(4, 40, 60)
    spot = square(clip, 5, 5, 3)
    pred, gt = track({0: spot, 2: spot}, clip), track({1: spot, 2: spot}, clip)
    assert smoothed_j(count_overlaps(pred, [gt], clip)).tolist() == [0.1, 0.1, 1, 1]  # false, missed, right, empty


def seen(*frames: int) -> np.ndarray:
    """Whether the object is gone in the frames that count, of ten."""
    return ~np.isin(np.arange(10), frames)[1:-1]


@pytest.mark.parametrize(
    ("gone", "disappears", "reappears"),
    [
        (seen(0), [], []),
        (seen(0, 1, 5, 6, 7, 8, 9), [range(2, 5)], [range(5, 9)]),
        (seen(0, 5, 6, 7, 8, 9), [], [range(5, 9)]),
        (seen(*range(10)), [], []),
        (seen(0, 1, 2, 4, 5, 7), [range(3, 4), range(6, 7), range(8, 9)], [range(4, 6), range(7, 8)]),
    ],
)
def test_which_frames_disappearance_and_reappearance_take(
    gone: np.ndarray, disappears: list[range], reappears: list[range]
) -> None:
    frames = np.arange(1, 9)
    assert [frames[at].tolist() for at in returns(gone, True)] == [list(part) for part in disappears]
    assert [frames[at].tolist() for at in returns(gone, False)] == [list(part) for part in reappears]


def test_all_numbers_of_one_object() -> None:
    """Seen in 0 and 1, gone in 2 to 4, back in 5 to 9; the mask stays away from frame 3 on."""
    spot = square(SMALL, 10, 10, 3)
    gt = track(dict.fromkeys((0, 1, 5, 6, 7, 8, 9), spot), SMALL)
    pred = track(dict.fromkeys((0, 1, 2), spot), SMALL)
    found = measures(pred, gt, SMALL, np.zeros(10, dtype=bool))
    # counted: 1 right, 2 false (J 0.1), 3 and 4 right, 5 to 8 missed (J 0.1)
    assert found == pytest.approx(
        {
            "mose_J": (3 + 5 * 0.1) / 8,
            "mose_F_new": 3 / 8,
            "mose_F": 3 / 8,
            "mose_JF_new": (3.5 + 3) / 16,
            "mose_JF": (3.5 + 3) / 16,
            "mose_disappear_JF_new": (2.1 + 2) / 6,
            "mose_reappear_JF_new": 0.05,
        }
    )
    lost = measures(pred, gt, SMALL, np.arange(10) == 1)
    assert lost["mose_J"] == pytest.approx(2.5 / 8)


def test_two_frames_leave_nothing_to_count() -> None:
    clip = Clip(2, 40, 60)
    spot = track({0: square(clip, 5, 5, 3)}, clip)
    assert set(measures(spot, spot, clip, np.zeros(2, dtype=bool)).values()) == {0}
