"""The frames of a film by number: read forwards, or after seeking to a key frame."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from glus.errors import InputError
from glus.media.film_examination import ExaminedFilm, examine_film
from glus.media.film_streams import film_container, shown_stream

HELD_BYTES = 128 << 20  # decoded frames that are kept for reading backwards


class FilmFrames:
    """The frames of one film, of which few are held.

    Reading forwards decodes each frame once. Going back seeks to the key frame before, and holds the frames that are
    decoded on the way, as many as fit into `HELD_BYTES`; going on lets them go, so that their memory is used again.

    Attributes:
        facts: what the examination has found.
    """

    def __init__(self, path: Path) -> None:
        """Examines the film to its end; see `examine_film` for the errors."""
        self.facts: ExaminedFilm = examine_film(path)
        self._path = path
        self._numbers = {pts: number for number, pts in enumerate(self.facts.pts or ())}
        self._converter = VideoReformatter()
        self._decoded: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._next = len(self)  # number of the frame that is decoded next
        self._held: OrderedDict[int, av.VideoFrame] = OrderedDict()
        width, height = self.facts.showing.coded
        self._most_held = max(1, HELD_BYTES // (2 * width * height))

    def __len__(self) -> int:
        return self.facts.num_frames

    def read(self, number: int) -> Image.Image:
        """One frame as it is shown.

        Raises:
            InputError: the file is no longer what it was when it was examined.
        """
        if number not in self._held:
            self._decode_to(number)
        return self.facts.showing.picture(self._held[number], self._converter)

    def _decode_to(self, wanted: int) -> None:
        """Goes on to a frame, or begins at the key frames before it, the last one first, until one leads to it.

        In files with open groups of pictures a seek can land behind the frame.
        """
        keys = self.facts.key_frames[: bisect_right(self.facts.key_frames, wanted)] if self.facts.pts else ()
        back = wanted < self._next
        if not back and (not keys or keys[-1] <= self._next):
            for _ in range(min(2, len(self._held))):  # one more than comes
                self._held.popitem(last=False)
            if self._advance(wanted, hold_all=False):
                return
        for key in (*reversed(keys), None):
            self._decoded = self._decode_from(key)
            if self._advance(wanted, hold_all=back):
                return
        raise InputError(f"{self._path}: frame {wanted} cannot be read any more; the film has changed meanwhile.")

    def _advance(self, wanted: int, *, hold_all: bool) -> bool:
        """Decodes up to a frame; False where that leads past it, or to one that lacks what it was predicted from."""
        for number, frame in self._decoded:
            self._next = number + 1
            if frame.is_corrupt or number > wanted:
                return False
            if hold_all or number == wanted:
                self._held[number] = frame
                self._held.move_to_end(number)
            if len(self._held) > self._most_held:
                self._held.popitem(last=False)
            if number == wanted:
                return True
        self._next = len(self)
        return False

    def _decode_from(self, key: int | None) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their numbers from a key frame on, without those that are shown before it.

        Args:
            key: number of the key frame; None: from the start.
        """
        pts = self.facts.pts
        with film_container(self._path) as container:
            stream = shown_stream(container, self._path)
            if key is not None and pts is not None:
                container.seek(pts[key], stream=stream)
            for count, frame in enumerate(_decode(container, stream)):
                number = count if pts is None or frame.pts is None else self._numbers.get(frame.pts, -1)
                if number >= (key or 0):
                    yield number, frame


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """The frames of a stream, from behind the packets that cannot be decoded at its beginning."""
    begun = False
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            if begun:
                raise
            continue
        begun = begun or bool(frames)
        yield from frames
