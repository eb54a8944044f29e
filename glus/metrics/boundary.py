"""F, the boundary score, bit-identical to the official scorer and about twenty times faster.

Masks are packed to 64 pixels per machine word and cropped to where they are. A disk is a union of rows whose
half-widths are nested, so its dilation is one horizontal span that grows pixel by pixel and is OR-ed up and down at
the rows where it has the disk's width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from glus.metrics.region import comparable

_WORD = 64
_CHUNK_WORDS = 1 << 15  # frames worked on at a time: what stays in a core's cache


def boundary_f(pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None, bound_th: float = 0.008) -> np.ndarray:
    """F of each frame, as the official DAVIS scorer computes it (paper 5.1).

    A boundary pixel matches if the other boundary has a pixel within a closed disk. The boundary lies half a pixel
    up and left, and the picture's border is never a boundary: a mask that fills the frame has none.

    Args:
        pred: predicted masks, bool [T, H, W].
        gt: ground-truth masks, bool [T, H, W].
        void: pixels that do not count, bool [T, H, W].
        bound_th: radius of the disk as a share of the frame's diagonal (rounded up); pixels where it is 1 or more.

    Returns:
        float64 [T], 0..1; 1 where neither mask has a boundary, 0 where only one has.

    Raises:
        ValueError: the shapes differ, or an array is not bool [T, H, W].
    """
    pred, gt = comparable(pred, gt, void)
    if gt.strides[1] < gt.strides[2]:  # decoded run lengths are column-major; F of transposed masks is the same
        pred, gt = pred.swapaxes(1, 2), gt.swapaxes(1, 2)
    num_frames, height, width = gt.shape
    radius = disk_radius(height, width, bound_th)
    chunk = max(1, _CHUNK_WORDS // max(1, 2 * height * math.ceil(width / _WORD)))
    scores = [
        _score_frames(pred[start : start + chunk], gt[start : start + chunk], radius)
        for start in range(0, num_frames, chunk)
    ]
    return np.concatenate(scores) if scores else np.empty(0)


def disk_radius(height_px: int, width_px: int, bound_th: float) -> float:
    """Radius in pixels within which boundaries match."""
    return bound_th if bound_th >= 1 else float(np.ceil(bound_th * np.linalg.norm((height_px, width_px))))


def _score_frames(pred: np.ndarray, gt: np.ndarray, radius: float) -> np.ndarray:
    words, inner = _crop(np.stack((_pack(pred), _pack(gt))), pred.shape[-1])
    boundary = _boundary(words, inner)
    matched = boundary & _dilate(boundary, radius)[::-1]
    num_boundary, num_matched = (
        np.bitwise_count(bits).sum(axis=(-2, -1), dtype=np.float64) for bits in (boundary, matched)
    )
    # No boundary at all: precision (or recall) is 1 where the other side has none either, else F is 0.
    share = np.divide(num_matched, num_boundary, out=np.ones_like(num_boundary), where=num_boundary > 0)
    share[(num_boundary == 0) & (num_boundary[::-1] > 0)] = 0
    precision, recall = share
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def _pack(masks: np.ndarray) -> np.ndarray:
    """Packs bool [..., W] into uint64 [..., ceil(W / 64)]; pixel x is bit x % 64 of word x // 64."""
    packed = np.packbits(masks, axis=-1, bitorder="little")
    num_words = -(-masks.shape[-1] // _WORD)
    padded = np.zeros((*packed.shape[:-1], num_words * 8), dtype=np.uint8)
    padded[..., : packed.shape[-1]] = packed
    return padded.view("<u8")


def _crop(words: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops packed masks to the words that hold something, with the neighbours that their boundary needs.

    Returns:
        The cropped words, and the word row that is set in every column but the picture's last one.
    """
    inner = _pack(np.arange(width) < width - 1)
    rows = np.flatnonzero(words.any(axis=(0, 1, 3)))
    if not len(rows):
        return words[:, :, :1, :1], inner[:1]
    columns = np.flatnonzero(words.any(axis=(0, 1, 2)))
    top, bottom = max(rows[0] - 1, 0), rows[-1] + 2
    left, right = max(columns[0] - 1, 0), columns[-1] + 1
    return words[:, :, top:bottom, left:right], inner[left:right]


def _boundary(words: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Pixels that differ from their right, lower or lower-right neighbour; beyond the border nothing differs."""
    below = np.concatenate((words[..., 1:, :], words[..., -1:, :]), axis=-2)
    return ((words ^ _right_neighbour(words)) & inner) | (words ^ below) | ((words ^ _right_neighbour(below)) & inner)


def _right_neighbour(words: np.ndarray) -> np.ndarray:
    shifted = words >> 1
    shifted[..., :-1] |= words[..., 1:] << 63
    return shifted


def _left_neighbour(words: np.ndarray) -> np.ndarray:
    shifted = words << 1
    shifted[..., 1:] |= words[..., :-1] >> 63
    return shifted


def _dilate(words: np.ndarray, radius: float) -> np.ndarray:
    """Dilates packed masks with the closed disk of a radius in pixels."""
    height = words.shape[-2]
    dilated = np.zeros_like(words)
    span = words
    for half_width, offsets in enumerate(_disk_rows(radius)):
        if half_width:
            span = span | _left_neighbour(span) | _right_neighbour(span)
        for offset in offsets:
            if offset < height:
                dilated[..., offset:, :] |= span[..., : height - offset, :]
                dilated[..., : height - offset, :] |= span[..., offset:, :]
    return dilated


def _disk_rows(radius: float) -> Iterator[list[int]]:
    """For each half-width 0, 1, ... of the disk's rows: at which distances from its centre rows have it."""
    widths = [math.isqrt(math.floor(radius * radius - offset * offset)) for offset in range(math.floor(radius) + 1)]
    for half_width in range(widths[0] + 1):
        yield [offset for offset, width in enumerate(widths) if width == half_width]
