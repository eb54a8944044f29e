"""Mask tracks as spans: the true pixels of a clip as stretches of one line, straight from run lengths.

The line holds all pixels of all frames, column after column and frame after frame, as COCO run lengths do. Counting the
pixels that tracks share, or uniting tracks, is then a walk along the ends of their spans: no mask is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from glus.errors import InputError
from glus.masks import rle_runs


@dataclass(frozen=True)
class Clip:
    """The frames that a line of pixels stands for."""

    num_frames: int
    height_px: int
    width_px: int

    @property
    def frame_px(self) -> int:
        """Pixels of a frame."""
        return self.height_px * self.width_px


@dataclass(frozen=True)
class Spans:
    """True pixels of a mask track: ascending spans that do not overlap.

    Attributes:
        starts: first pixel of each span, int64 [S].
        ends: one past its last pixel, int64 [S].
    """

    starts: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class FrameSpans:
    """A track that was read already, and the frames that it answers; one that it does not list is missing."""

    spans: Spans
    frames: frozenset[int]


NOTHING = Spans(np.empty(0, np.int64), np.empty(0, np.int64))


def read_spans(masks: Iterable[tuple[int, str]], clip: Clip) -> Spans:
    """Reads run-length masks of a clip: (frame index, compressed COCO counts) in any order.

    Several masks of one frame are united; frames without one are empty.

    Raises:
        InputError: broken run lengths, or runs that do not add up to the frame's pixels; names the frame.
    """
    listed = list(masks)
    if not listed:
        return NOTHING
    runs, begins = _read_runs(listed)
    ends = np.cumsum(runs)
    _check_pixels(listed, np.diff(np.concatenate(([0], ends))[begins]), clip)
    num_runs = np.diff(begins)
    # Run on, the masks lie where frames 0, 1, 2 ... would; each is moved to the frame that it belongs to.
    shift = np.array([index for index, _ in listed]) - np.arange(len(listed))
    if shift.any():
        ends += np.repeat(shift * clip.frame_px, num_runs)
    # Runs alternate within a mask, and each mask begins anew with a false one: after an odd number of runs the
    # pattern is the other way round.
    is_true = np.zeros(len(runs), dtype=bool)
    is_true[1::2] = True  # of each mask every other run, from its second on
    is_true ^= np.repeat(begins[:-1] % 2 == 1, num_runs)
    true = np.flatnonzero(is_true)
    lengths, ends = runs[true], ends[true]
    spans = Spans(ends - lengths, ends)
    if not lengths.all():  # some writers split a run by one of no length
        spans = Spans(spans.starts[lengths > 0], ends[lengths > 0])
    return unite([spans])  # frames may come in any order and several times


def _read_runs(masks: Sequence[tuple[int, str]]) -> tuple[np.ndarray, np.ndarray]:
    try:
        return rle_runs([counts for _, counts in masks])
    except InputError:
        for index, counts in masks:
            _check_alone(index, counts)
        raise


def _check_alone(index: int, counts: str) -> None:
    try:
        rle_runs([counts])
    except InputError as error:
        raise InputError(f"frame {index} cannot be used: {error}") from error


def _check_pixels(masks: Sequence[tuple[int, str]], pixels: np.ndarray, clip: Clip) -> None:
    wrong = np.flatnonzero(pixels != clip.frame_px)
    if len(wrong):
        raise InputError(
            f"frame {masks[wrong[0]][0]} cannot be used: runs add up to {pixels[wrong[0]]} pixels, expected"
            f" {clip.height_px} x {clip.width_px} = {clip.frame_px}"
        )


def unite(tracks: Sequence[Spans]) -> Spans:
    """The union of some tracks of one clip."""
    if not tracks:
        return NOTHING
    if len(tracks) == 1 and not (tracks[0].starts[1:] < tracks[0].ends[:-1]).any():
        return tracks[0]
    positions, depth = _walk([(spans, 1) for spans in tracks])
    return _spans_where(positions, depth > 0)


def subtract(track: Spans, others: Sequence[Spans]) -> Spans:
    """The pixels of a track that none of some others of the clip holds."""
    # Others count 2 each: 1 is the only sum that holds the track and nothing else.
    positions, state = _walk([(track, 1), *((spans, 2) for spans in others)])
    return _spans_where(positions, state == 1)


def count_overlaps(pred: Spans, truth: Sequence[Spans], clip: Clip) -> np.ndarray:
    """How many pixels of each frame the prediction and some annotations share.

    Returns:
        int64 [T, 2, K + 1] for K annotations: pixels by whether they are predicted and by how many annotations hold
        them. The sum over the last two axes is the size of the frame.
    """
    num_depths = len(truth) + 1  # so that one number tells both: predicted * num_depths + annotations that hold it
    # A span may reach over the end of a frame (column-major lines have no gaps), so every frame's start is a stop.
    stops = np.arange(clip.num_frames + 1) * clip.frame_px
    positions, state = _walk([(pred, num_depths), *((spans, 1) for spans in truth)], stops)
    begins = np.searchsorted(positions, stops[:-1])
    frames = np.repeat(np.arange(clip.num_frames), np.diff(begins, append=len(state)))
    kinds = 2 * num_depths
    pixels = np.bincount(frames * kinds + state, np.diff(positions), clip.num_frames * kinds)
    return pixels.astype(np.int64).reshape(clip.num_frames, 2, num_depths)


def _spans_where(positions: np.ndarray, holds: np.ndarray) -> Spans:
    inside = np.concatenate(([False], holds, [False]))
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = positions[edges[::2]], positions[edges[1::2]]
    return Spans(starts[starts < ends], ends[starts < ends])  # where several things happen, stretches have no length


def _walk(tracks: Sequence[tuple[Spans, int]], stops: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The places along the line where something begins or ends, and what holds from each to the next.

    Args:
        tracks: spans and the number that counts for their pixels.
        stops: further places to list.

    Returns:
        Positions, ascending, int64 [N]; sum of the numbers of the tracks that hold there, int64 [N - 1].
    """
    edges = [np.stack((spans.starts, spans.ends), axis=1).ravel() for spans, _ in tracks]
    changes = [np.tile((weight, -weight), len(spans.starts)) for spans, weight in tracks]
    if stops is not None:
        edges.append(stops)
        changes.append(np.zeros_like(stops))
    positions = np.concatenate(edges)
    order = np.argsort(positions, kind="stable")  # merges what is sorted already
    return positions[order], np.cumsum(np.concatenate(changes)[order])[:-1]
