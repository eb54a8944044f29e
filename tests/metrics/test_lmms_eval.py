"""lmms-eval's HOTA by hand."""

import numpy as np
import pytest

from glus.masks import encode_rle
from glus.metrics.lmms_eval import measures
from glus.metrics.spans import Clip, Spans, read_spans

CLIP = Clip(4, 10, 10)


def row(length: int) -> str:
    mask = np.zeros((10, 10), dtype=bool)
    mask[0, :length] = True
    return encode_rle(mask)


def track(*lengths: int) -> Spans:
    return read_spans([(index, row(length)) for index, length in enumerate(lengths)], CLIP)


@pytest.mark.parametrize(
    ("pred", "gt", "missing", "hota"),
    [
        ((4, 4, 0, 0), (4, 4, 0, 0), 0, 1),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0, 1),
        # frame 0 is right; 1 is missed, 2 a false alarm: one of three at every IoU
        ((4, 0, 4, 0), (4, 4, 0, 0), 0, np.sqrt(1 / 3)),
        # IoU 1/2: right at the ten smallest of 19 bounds, else a miss and a false alarm
        ((2, 0, 0, 0), (4, 0, 0, 0), 0, 10 / 19),
        ((0, 0, 0, 0), (0, 0, 0, 0), 4, 0),
    ],
)
def test_hota_is_the_root_of_the_detection_accuracy(
    pred: tuple[int, ...], gt: tuple[int, ...], missing: int, hota: float
) -> None:
    found = measures(track(*pred), track(*gt), CLIP, np.arange(4) < missing)
    assert found == {"lmms_HOTA": pytest.approx(hota)}
