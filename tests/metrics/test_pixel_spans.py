"""Spans read from pixels hold the same pixels as those read from run lengths."""

import numpy as np
import pytest

from glus.masks import encode_rle
from glus.metrics.boundary import boundary_matches_of_spans
from glus.metrics.pixel_spans import label_spans, mask_spans
from glus.metrics.region import jaccard_of_spans
from glus.metrics.spans import NOTHING, Clip, Spans, read_spans

CLIP = Clip(3, 9, 13)


def pixels_of(spans: Spans, clip: Clip) -> np.ndarray:
    """bool [T, H, W]"""
    line = np.zeros(clip.num_frames * clip.frame_px, dtype=bool)
    for start, end in zip(spans.starts, spans.ends, strict=True):
        assert not line[start:end].any()
        line[start:end] = True
    return line.reshape(clip.num_frames, clip.width_px, clip.height_px).swapaxes(1, 2)


def drawn(kind: str) -> np.ndarray:
    """uint8 [H, W] with the labels 0 to 3"""
    random = np.random.default_rng(7)
    size = CLIP.height_px, CLIP.width_px
    if kind == "noise":
        return random.integers(0, 4, size, dtype=np.uint8)
    picture = np.zeros(size, dtype=np.uint8)
    box = {"corner": np.s_[:3, :2], "last": np.s_[-2:, -4:], "columns": np.s_[:, 3:6], "full": np.s_[:, :]}
    if kind in box:
        picture[box[kind]] = 2
    return picture


@pytest.mark.parametrize("kind", ["noise", "corner", "last", "columns", "full", "empty"])
def test_pixels_give_the_spans_of_their_run_lengths(kind: str) -> None:
    picture = drawn(kind)
    spans, values = mask_spans(picture, 1, CLIP)
    assert values.tolist() == np.unique(picture).tolist()
    assert np.array_equal(pixels_of(spans, CLIP)[1], picture != 0)
    assert not pixels_of(spans, CLIP)[[0, 2]].any()
    labels = label_spans([(1, np.ascontiguousarray(picture.T)), (2, np.zeros_like(picture.T))], CLIP)
    assert set(labels) == set(np.unique(picture).tolist()) - {0}
    for value, track in labels.items():
        assert np.array_equal(pixels_of(track, CLIP)[1], picture == value)
        told = read_spans([(1, encode_rle(picture == value))], CLIP)
        assert np.array_equal(pixels_of(track, CLIP), pixels_of(told, CLIP))


def test_tracks_along_rows_have_the_same_j_and_f() -> None:
    random = np.random.default_rng(3)
    pred, gt = (random.random((3, 9, 13)) < 0.5 for _ in range(2))
    across = Clip(3, 13, 9)

    def along_rows(masks: np.ndarray) -> Spans:
        return label_spans(enumerate(masks.astype(np.uint8)), across)[1]

    def along_columns(masks: np.ndarray) -> Spans:
        return read_spans([(index, encode_rle(mask)) for index, mask in enumerate(masks)], CLIP)

    for measure in (jaccard_of_spans, lambda *pair: boundary_matches_of_spans(*pair).f):
        found = measure(along_rows(pred), along_rows(gt), across)
        assert found.tolist() == measure(along_columns(pred), along_columns(gt), CLIP).tolist()


def test_no_pictures_hold_no_labels() -> None:
    assert label_spans([], CLIP) == {}
    assert mask_spans(drawn("empty"), 0, CLIP)[0].starts.tolist() == NOTHING.starts.tolist()
