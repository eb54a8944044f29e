"""F, the boundary score, bit-identical to the official scorer and more than ten times faster.

Masks are packed to 64 pixels per machine word, straight from run lengths where they come so, and cropped to where they
are. A disk is a union of rows whose half-widths are nested, so its dilation is one horizontal span that grows pixel by
pixel and is OR-ed up and down at the rows where it has the disk's width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from glus.metrics.region import comparable
from glus.metrics.spans import Clip, Spans

BOUND_TH = 0.008  # the benchmarks' radius, as a share of the diagonal
_WORD = 64
_CHUNK_WORDS = 1 << 15  # frames worked on at a time: what stays in a core's cache


@dataclass(frozen=True)
class BoundaryMatches:
    """Boundary pixels of each frame, and how many of them lie near the other mask's boundary; float64 [T] each.

    Attributes:
        num_pred: boundary pixels of the prediction.
        num_gt: boundary pixels of the ground truth.
        pred_matched: those of the prediction that match.
        gt_matched: those of the ground truth that match.
    """

    num_pred: np.ndarray
    num_gt: np.ndarray
    pred_matched: np.ndarray
    gt_matched: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """Share of the prediction's boundary that matches; 1 where it has none."""
        return _share(self.pred_matched, self.num_pred)

    @property
    def recall(self) -> np.ndarray:
        """Share of the ground truth's boundary that matches; 1 where it has none."""
        return _share(self.gt_matched, self.num_gt)

    @property
    def f(self) -> np.ndarray:
        """Harmonic mean of precision and recall; 0 where both are 0."""
        precision, recall = self.precision, self.recall
        total = precision + recall
        return np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)


def boundary_f(
    pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None, bound_th: float = BOUND_TH
) -> np.ndarray:
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
    return boundary_matches(pred, gt, void, bound_th).f


def boundary_matches(
    pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None, bound_th: float = BOUND_TH
) -> BoundaryMatches:
    """What `boundary_f` is computed from: boundary pixels and matches, precision and recall. Arguments as there."""
    pred, gt = comparable(pred, gt, void)
    num_frames, height, width = gt.shape
    if gt.strides[1] < gt.strides[2]:  # decoded run lengths are column-major; F of transposed masks is the same
        pred, gt = pred.swapaxes(1, 2), gt.swapaxes(1, 2)

    def pack(begin: int, end: int) -> np.ndarray:
        return np.stack((_pack(pred[begin:end]), _pack(gt[begin:end])))

    return _match(pack, num_frames, gt.shape[1], gt.shape[2], list(_disk_rows(disk_radius(height, width, bound_th))))


def boundary_matches_of_spans(pred: Spans, gt: Spans, clip: Clip, bound_th: float = BOUND_TH) -> BoundaryMatches:
    """The same of tracks that are read from run lengths, without decoding them."""

    def pack(begin: int, end: int) -> np.ndarray:
        return np.stack((_pack_spans(pred, clip, begin, end), _pack_spans(gt, clip, begin, end)))

    rows = list(_disk_rows(disk_radius(clip.height_px, clip.width_px, bound_th)))
    return _match(pack, clip.num_frames, clip.width_px, clip.height_px, rows)


def boundary_f_at_radii(pred: Spans, gt: Spans, clip: Clip, radii: np.ndarray) -> np.ndarray:
    """F of each frame within a disk of its own, float64 [T].

    Args:
        radii: in pixels, float64 [T]; a disk whose radius is no whole number lies off its centre (`_off_centre_rows`).
    """
    f = np.empty(clip.num_frames)
    for radius in np.unique(radii):
        frames = np.flatnonzero(radii == radius)

        def pack(begin: int, end: int, frames: np.ndarray = frames) -> np.ndarray:
            of_frames = ([_pack_spans(track, clip, at, at + 1) for at in frames[begin:end]] for track in (pred, gt))
            return np.stack([np.concatenate(packed) for packed in of_frames])

        rows = _disk_rows(radius) if radius == np.floor(radius) else _off_centre_rows(radius)
        f[frames] = _match(pack, len(frames), clip.width_px, clip.height_px, list(rows)).f
    return f


def disk_radius(height_px: int, width_px: int, bound_th: float) -> float:
    """Radius in pixels within which boundaries match."""
    return bound_th if bound_th >= 1 else float(np.ceil(bound_th * np.linalg.norm((height_px, width_px))))


def _share(matched: np.ndarray, boundary: np.ndarray) -> np.ndarray:
    return np.divide(matched, boundary, out=np.ones_like(boundary), where=boundary > 0)


def _match(
    pack: Callable[[int, int], np.ndarray], num_frames: int, num_rows: int, row_px: int, disk: Sequence[DiskRow]
) -> BoundaryMatches:
    """Matches the boundaries of packed masks, some frames at a time.

    Args:
        pack: packed prediction and ground truth of frames begin to end, uint64 [2, frames, rows, words].
        disk: within which boundaries match.
    """
    chunk = max(1, _CHUNK_WORDS // max(1, 2 * num_rows * math.ceil(row_px / _WORD)))
    counts = np.empty((4, num_frames))
    for begin in range(0, num_frames, chunk):
        end = min(begin + chunk, num_frames)
        words, inner = _crop(pack(begin, end), row_px)
        boundary = _boundary(words, inner)
        matched = boundary & _dilate(boundary, disk)[::-1]  # [::-1]: each mask against the other one's disk
        counts[:2, begin:end] = np.bitwise_count(boundary).sum(axis=(-2, -1))
        counts[2:, begin:end] = np.bitwise_count(matched).sum(axis=(-2, -1))
    return BoundaryMatches(*counts)


def _pack(masks: np.ndarray) -> np.ndarray:
    """Packs bool [..., W] into uint64 [..., ceil(W / 64)]; pixel x is bit x % 64 of word x // 64."""
    # Little-endian bits in little-endian words: the order of pixels is that of bits, so a shift moves all pixels.
    packed = np.packbits(masks, axis=-1, bitorder="little")
    num_words = -(-masks.shape[-1] // _WORD)
    padded = np.zeros((*packed.shape[:-1], num_words * 8), dtype=np.uint8)
    padded[..., : packed.shape[-1]] = packed
    return padded.view("<u8")


def _pack_spans(spans: Spans, clip: Clip, begin: int, end: int) -> np.ndarray:
    """Packs frames of a track, transposed, into uint64 [T, W, ceil(H / 64)]; pixel y is bit y % 64 of word y // 64.

    A bit is set where a span starts or ends; the parity of the bits up to a pixel then says whether it is inside.
    """
    height, column_words = clip.height_px, -(-clip.height_px // _WORD)
    low, high = begin * clip.frame_px, end * clip.frame_px
    # Spans do not overlap, so both their starts and their ends are sorted, and those of these frames are one slice.
    inside = slice(np.searchsorted(spans.ends, low, "right"), np.searchsorted(spans.starts, high))
    starts, ends = np.maximum(spans.starts[inside], low), np.minimum(spans.ends[inside], high)
    places = np.concatenate((starts, ends)) - low
    column, row = np.divmod(places, height)
    # One word more: a span may end one past the last pixel.
    words = np.zeros((end - begin) * clip.width_px * column_words + 1, dtype=np.uint64)
    word, bit = np.divmod(row, _WORD)
    # `at`, because many marks share a word, and an end and a start at the same place have to cancel.
    np.bitwise_xor.at(words, column * column_words + word, np.left_shift(np.uint64(1), bit.astype(np.uint64)))
    for shift in (1, 2, 4, 8, 16, 32):  # doubling: after it each bit is the parity of all bits up to it in its word
        words ^= words << np.uint64(shift)
    is_open = np.bitwise_xor.accumulate(words >> np.uint64(63))  # whether a span goes on into the next word
    words[1:] ^= -is_open[:-1]  # unsigned -1 is all ones: a word that a span reaches into is turned over
    packed = words[:-1].reshape(end - begin, clip.width_px, column_words)
    # A span may run on into the next column; its bits beyond the column's last pixel are padding.
    packed[..., -1] &= np.uint64((1 << (height - (column_words - 1) * _WORD)) - 1)
    return packed


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
    # A row above and a word to the left, because a boundary lies on the pixel before the one that differs; a row below,
    # so that the last one differs from it. Dilation may be cut off: what it reaches beyond is nobody's boundary.
    top, bottom = max(rows[0] - 1, 0), rows[-1] + 2
    left, right = max(columns[0] - 1, 0), columns[-1] + 1
    return words[:, :, top:bottom, left:right], inner[left:right]


def _boundary(words: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Pixels that differ from their right, lower or lower-right neighbour; beyond the border nothing differs."""
    # The last row is its own neighbour, and `inner` leaves the last column out: the border is no boundary.
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


def _dilate(words: np.ndarray, disk: Sequence[DiskRow]) -> np.ndarray:
    """Dilates packed masks: a pixel is set where the disk around it holds a set one."""
    height = words.shape[-2]
    dilated = np.zeros_like(words)
    if not disk:  # OpenCV reads a disk without a pixel as its first place: everything moves on by a row and a column
        dilated[..., 1:, :] = _left_neighbour(words)[..., :-1, :]
    span, before, after = words, 0, 0
    for row in disk:
        while before < row.before or after < row.after:
            grown = span
            if before < row.before:
                grown = grown | _left_neighbour(span)
            if after < row.after:
                grown = grown | _right_neighbour(span)
            span, before, after = grown, min(before + 1, row.before), min(after + 1, row.after)
        for offset in row.offsets:
            if abs(offset) < height:
                dilated[..., max(0, -offset) : height - max(0, offset), :] |= span[
                    ..., max(0, offset) : height - max(0, -offset), :
                ]
    return dilated


@dataclass(frozen=True)
class DiskRow:
    """Rows of a disk that reach equally far; those of a disk are nested.

    Attributes:
        before: pixels before the column of its middle.
        after: pixels behind it.
        offsets: how far below the middle (negative: above it) rows reach so far.
    """

    before: int
    after: int
    offsets: tuple[int, ...]


def _disk_rows(radius: float) -> Iterator[DiskRow]:
    """The closed disk around a pixel, its narrowest rows first."""
    # In whole numbers: a square root in floating point may lose the pixel that lies exactly on the circle.
    widths = [math.isqrt(math.floor(radius * radius - offset * offset)) for offset in range(math.floor(radius) + 1)]
    for width in range(widths[0] + 1):
        offsets = [offset for offset, of_row in enumerate(widths) if of_row == width]
        yield DiskRow(width, width, tuple(sorted({*offsets, *(-offset for offset in offsets)})))


def _off_centre_rows(radius: float) -> Iterator[DiskRow]:
    """The disk that scikit-image makes of a radius that is no whole number, its narrowest rows first.

    Its pixels lie at -radius, -radius + 1, ... from the middle, so that its anchor is not in the middle. Below 0.59 px
    (frames with a diagonal below 73 px) it has none.
    """
    places = np.arange(-radius, radius + 1)
    anchor = len(places) // 2
    rows: dict[tuple[int, int], list[int]] = {}
    for offset, inside in enumerate(places[:, None] ** 2 + places**2 <= radius**2):
        columns = np.flatnonzero(inside)
        if len(columns):
            reach = anchor - int(columns[0]), int(columns[-1]) - anchor
            rows.setdefault(reach, []).append(offset - anchor)
    for (before, after), offsets in sorted(rows.items()):
        yield DiskRow(before, after, tuple(offsets))
