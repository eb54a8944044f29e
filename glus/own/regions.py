"""Objects that overlap as one indexed picture: each set of objects that share pixels has a value of its own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from glus.errors import InputError
from glus.masks import decode_rle
from glus.own.labels import AnnotatedVideo

MOST_VALUES = 254  # 0 is the background, 255 belongs to nothing
MOST_AT_ONCE = 62  # objects of one frame: a bit each


class Regions:
    """The values of a video's pictures. Nothing is lost: the masks of an object are the union of its regions."""

    def __init__(self, video: AnnotatedVideo) -> None:
        self._video = video
        self._values: dict[frozenset[int], int] = {}

    def picture(self, place: int) -> np.ndarray:
        """The values of one frame, uint8 [H, W].

        Raises:
            InputError: more objects, or more ways to overlap, than an indexed picture can tell apart.
        """
        height, width = self._video.size
        seen = [at for at, track in enumerate(self._video.tracks) if place in track.masks]
        if len(seen) > MOST_AT_ONCE:
            raise InputError(f"{self._where(place)} shows {len(seen)} objects, at most {MOST_AT_ONCE} are possible.")
        sets = np.zeros((height, width), dtype=np.int64)
        for bit, at in enumerate(seen):
            sets |= decode_rle(self._video.tracks[at].masks[place], height, width).astype(np.int64) << bit
        found, inverse = np.unique(sets, return_inverse=True)
        values = [
            self._value(frozenset(at for bit, at in enumerate(seen) if code >> bit & 1)) for code in found.tolist()
        ]
        if max(values) > MOST_VALUES:
            raise InputError(
                f"{self._where(place)}: its objects overlap in more than {MOST_VALUES} ways, which is more than an"
                " indexed picture holds. Label fewer objects, or split the video."
            )
        return np.array(values, dtype=np.uint8)[inverse].reshape(height, width)

    def of(self, objects: Iterable[int]) -> list[int]:
        """The values that make up some objects, once all pictures are made; one that is never seen has its own."""
        meant = frozenset(objects)
        values = sorted(value for members, value in self._values.items() if not meant.isdisjoint(members))
        return values or [self._value(meant)]

    def _value(self, members: frozenset[int]) -> int:
        return self._values.setdefault(members, len(self._values) + 1) if members else 0

    def _where(self, place: int) -> str:
        return f"{self._video.name}, frame {self._video.frames.frame_names[place]}"
