"""A film decoded once to its end: which frames it shows and when, and whether all that it announces is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.reformatter import ColorTrc
from av.video.stream import VideoStream

from glus.errors import InputError, name_some
from glus.media.file_ends import ends_early
from glus.media.film_duration import lost_at_the_end, without_frame
from glus.media.film_streams import film_container, film_streams, shown_stream
from glus.media.showing import Showing, can_be_seen_through

USUAL_RATE = Fraction(25)  # of streams that tell none, as FFmpeg takes it
REPAIR = "Repair or download it again; if what is left is enough, convert it: `ffmpeg -i FILM NEW.mp4`."
HIGH_DYNAMIC_RANGE: dict[int, str] = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
STOPPING = ("mjpeg",)  # decoders that show damage without marking it, unless they are asked to stop at it
LOGGING = ("ffv1", "gif", "wmv1", "wmv2", "ogg")  # decoders and containers that tell of it in FFmpeg's log alone
A_FRAME_EACH = ("h264", "hevc")  # packets of others may hold a frame that is not shown


@dataclass(frozen=True)
class ExaminedFilm:
    """A sound film.

    Attributes:
        showing: how its frames are shown.
        num_frames: frames that are shown.
        pts: presentation time of each, in units of the stream, ascending; None where the film tells no times.
        key_frames: numbers of the frames that decoding can begin with.
        times_s, end_s, rate, has_sound, warnings: see `glus.media.sources.FrameSource`.
    """

    showing: Showing
    num_frames: int
    pts: tuple[int, ...] | None
    key_frames: tuple[int, ...]
    times_s: tuple[float, ...]
    end_s: float
    rate: Fraction
    has_sound: bool
    warnings: tuple[str, ...]


def examine_film(path: Path) -> ExaminedFilm:
    """Decodes a film to its end.

    Raises:
        InputError: it is no film, shows nothing, is damaged or broke off (its frames are named and counted), changes
            its size, is turned by something else than quarters, or can be seen through.
    """
    with _errors_told() as (said, hush), film_container(path) as container:
        examination = _Examination(path, container, said)
        if not examination.listens:
            hush()
        examination.decode()
        return examination.result()


@contextmanager
def _errors_told() -> Iterator[tuple[list[tuple[int, str, str]], Callable[[], None]]]:
    """What FFmpeg logs as errors, from now on, and what stops that again. Nothing of it reaches the terminal."""
    level, skip = av.logging.get_level(), av.logging.get_skip_repeated()

    def hush() -> None:
        av.logging.set_level(level)

    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as said:
            yield said, hush
    finally:
        hush()
        av.logging.set_skip_repeated(skip)


class _Examination:
    """What decoding a film shows, packet by packet."""

    def __init__(self, path: Path, container: InputContainer, said: list[tuple[int, str, str]]) -> None:
        self._path, self._container, self._said = path, container, said
        self._stream: VideoStream = shown_stream(container, path)
        codec = self._stream.codec_context
        if codec.name in STOPPING:
            codec.options = {"err_detect": "explode"}
        self.listens = codec.name in LOGGING or container.format.name in LOGGING
        self._a_frame_each = codec.codec.canonical_name in A_FRAME_EACH
        if self.listens:
            codec.thread_count = 1  # what another thread logs is not heard
        self._rate = self._stream.average_rate or self._stream.guessed_rate or USUAL_RATE
        self._time_base = self._stream.time_base or Fraction(1, av.time_base)
        self._first: av.VideoFrame | None = None
        self._showing: Showing | None = None
        self._pts: list[int | None] = []
        self._last_duration = 0
        self._key_frames: list[int] = []
        self._damaged: list[int] = []
        self._before_first = 0  # packets that cannot be decoded: a recording that begins between key frames
        self._ends_s: dict[int, float] = {}  # of each stream's packets
        self._tells_durations = False
        self._packet_pts: list[int] = []
        self._broken_off = ""

    def decode(self) -> None:
        """Reads all packets of all streams, and decodes those of the film."""
        try:
            for packet in self._container.demux():
                self._take(packet)
                if self.listens and self._said:
                    self._damaged.append(max(len(self._pts) - 1, 0))
                self._said.clear()
        except av.error.FFmpegError as problem:  # of the container: those of the decoder are taken as damage
            self._broken_off = str(problem.strerror)

    def _take(self, packet: Packet) -> None:
        index = packet.stream.index  # `packet.stream_index` of the last, empty packets is 0
        if packet.pts is not None and not packet.is_discard:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self._ends_s[index] = max(end, self._ends_s.get(index, end))
        if index != self._stream.index:
            return
        self._tells_durations |= bool(packet.duration)
        if packet.pts is not None and not packet.is_discard:
            self._packet_pts.append(packet.pts)
        if packet.is_corrupt:
            self._damaged.append(len(self._pts))
        try:
            for frame in packet.decode():
                self._add(frame)
        except av.error.FFmpegError:
            if self._pts:
                self._damaged.append(len(self._pts))
            else:
                self._before_first += 1

    def _add(self, frame: av.VideoFrame) -> None:
        number = len(self._pts)
        try:
            showing = Showing.of(frame, self._stream.sample_aspect_ratio)
        except ValueError as problem:
            raise InputError(f"{self._path} is not turned by quarters ({problem}). Convert it first.") from problem
        if self._showing is None:
            self._first, self._showing = frame, showing
        elif showing != self._showing:
            raise InputError(
                f"{self._path} changes its picture size or direction at frame {number}: it is"
                f" {_text(showing.size)} there, {_text(self._showing.size)} before. Cut the film there."
            )
        if can_be_seen_through(frame):
            raise InputError(
                f"{self._path}: frame {number} can be seen through, and what lies behind it is not known. Convert the"
                " film to one without an alpha channel."
            )
        if frame.is_corrupt:
            self._damaged.append(number)
        if frame.key_frame:
            self._key_frames.append(number)
        self._pts.append(frame.pts)
        self._last_duration = frame.duration

    def result(self) -> ExaminedFilm:
        """The examined film.

        Raises:
            InputError: as for `examine_film`.
        """
        if self._first is None or self._showing is None:
            raise InputError(f"{self._path} shows no frames{f' ({self._broken_off})' if self._broken_off else ''}.")
        pts = self._known_pts()
        times_s = self._times_s(pts)
        self._require_whole(times_s)
        last_s = float(self._last_duration * self._time_base) or float(1 / self._rate)
        return ExaminedFilm(
            showing=self._showing,
            num_frames=len(self._pts),
            pts=pts,
            key_frames=tuple(self._key_frames),
            times_s=times_s,
            end_s=round(times_s[-1] + last_s, 6),
            rate=self._rate,
            has_sound=bool(self._container.streams.audio),
            warnings=tuple(self._warnings(self._first)),
        )

    def _known_pts(self) -> tuple[int, ...] | None:
        known = tuple(time for time in self._pts if time is not None)
        ascending = all(first < second for first, second in pairwise(known))
        return known if ascending and len(known) == len(self._pts) else None

    def _times_s(self, pts: tuple[int, ...] | None) -> tuple[float, ...]:
        """When each frame is shown, on the clock that begins with the film; counted where frames tell no times."""
        if pts is None:
            return tuple(round(float(number / self._rate), 6) for number in range(len(self._pts)))
        began = Fraction(self._container.start_time or 0, av.time_base)
        return tuple(round(float(time * self._time_base - began), 6) for time in pts)

    def _require_whole(self, times_s: tuple[float, ...]) -> None:
        problems = []
        if damaged := sorted(set(self._damaged)):
            places = [
                f"frame {number} ({times_s[number]:.2f} s)" if number < len(times_s) else f"frame {number}"
                for number in damaged
            ]
            problems.append(f"{len(damaged)} of its frames cannot be decoded completely: {name_some(places)}")
        pts = self._known_pts() if self._a_frame_each else None
        if pts and (without := without_frame(self._packet_pts, pts)):
            places = [f"{float(pts * self._time_base):.2f} s" for pts in without]
            problems.append(f"{len(without)} of its frames are not shown: those of {name_some(places)}")
        lost = lost_at_the_end(self._container, self._stream, self._ends_of_streams(times_s), self._rate)
        if not (self._broken_off or lost) and ends_early(self._path, self._container.format.name):
            self._broken_off = "the file ends before its container does"
        if self._broken_off or lost:
            shown = len(self._pts)
            why = f" ({self._broken_off})" if self._broken_off else ""
            count = f"{lost} of {shown + lost} frames are lost" if lost else "how many are lost is not known"
            problems.append(f"it breaks off after {shown} frames, at {times_s[-1]:.2f} s{why}: {count}")
        if problems:
            raise InputError(f"{self._path} is damaged: {'; '.join(problems)}. {REPAIR}")

    def _ends_of_streams(self, times_s: tuple[float, ...]) -> dict[int, float]:
        """Where each stream ends; frames that tell no duration (FLV, WMV) last as long as the longest one before."""
        if self._tells_durations:
            return self._ends_s
        longest = max((second - first for first, second in pairwise(times_s)), default=float(1 / self._rate))
        ends_s = self._ends_s.get(self._stream.index, 0.0) + longest
        return self._ends_s | {self._stream.index: ends_s}

    def _warnings(self, first: av.VideoFrame) -> list[str]:
        warnings = []
        stream = self._stream
        if (count := len(film_streams(self._container))) > 1:
            chosen = f"number {stream.index}, {stream.width}x{stream.height}"
            warnings.append(f"{self._path} holds {count} video streams; the one that players choose is read: {chosen}")
        if self._before_first:
            lead = f"{self._before_first} pictures that cannot be decoded"
            warnings.append(f"{self._path} begins with {lead}; it is read from behind them, as players show it")
        if transfer := HIGH_DYNAMIC_RANGE.get(first.color_trc):
            warnings.append(f"{self._path} has a high dynamic range ({transfer}); it is read without tone mapping")
        return warnings


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
