"""Spans straight from pixels: each label of label maps, or one mask, without run lengths in between."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from glus.metrics.spans import Clip, Spans


def label_spans(pictures: Iterable[tuple[int, np.ndarray]], clip: Clip) -> dict[int, Spans]:
    """The track of each label but 0.

    Args:
        pictures: frame index, ascending, and object numbers, uint8 [W, H]: columns of a frame lie behind each other, as
            in run lengths. Where all tracks of a clip come from here, rows may stand for columns in all of them (J and
            F of transposed masks are the same), which saves turning the pictures.
        clip: of pictures [W, H].
    """
    starts, ends, labels = [], [], []
    for index, picture in pictures:
        first, last = _runs(picture.ravel())
        labels.append(picture.ravel()[first])
        starts.append(first + index * clip.frame_px)
        ends.append(last + index * clip.frame_px)
    if not labels:
        return {}
    start, end, label = np.concatenate(starts), np.concatenate(ends), np.concatenate(labels)
    found = np.flatnonzero(np.bincount(label))
    return {int(value): Spans(start[label == value], end[label == value]) for value in found if value}


def mask_spans(pixels: np.ndarray, index: int, clip: Clip) -> tuple[Spans, np.ndarray]:
    """The pixels of one frame that are not 0, and the values that it holds.

    Args:
        pixels: uint8 [H, W].
        index: of the frame.

    Returns:
        Spans along the columns, those of a column apart from those of the next; the values, ascending.
    """
    flat = pixels.ravel()
    starts, ends = _runs(flat)
    values = np.flatnonzero(np.bincount(flat[starts]))
    inside = np.flatnonzero(flat[starts])
    if not len(inside):
        return Spans(starts[:0], ends[:0]), values
    # Only the box that holds the mask is turned: turning a whole frame takes longer than all the rest.
    top, bottom = int(starts[inside[0]]) // clip.width_px, (int(ends[inside[-1]]) - 1) // clip.width_px + 1
    columns = np.flatnonzero(pixels[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    box = np.zeros((right - left, bottom - top + 1), dtype=bool)  # a pixel more, so that each column ends
    box[:, :-1] = pixels[top:bottom, left:right].T != 0
    line = box.ravel()
    edges = np.flatnonzero(line[1:] != line[:-1]) + 1
    if line[0]:
        edges = np.concatenate(([0], edges))
    column, row = np.divmod(edges, box.shape[1])
    places = index * clip.frame_px + (left + column) * clip.height_px + top + row
    return Spans(places[::2], places[1::2]), values


def _runs(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where stretches of one value begin, and one past where they end."""
    edges = np.flatnonzero(line[1:] != line[:-1]) + 1
    return np.concatenate(([0], edges)), np.concatenate((edges, [len(line)]))
