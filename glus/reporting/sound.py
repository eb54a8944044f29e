"""The sound of a film beside other pictures: its packets as they are where the container takes them, else as AAC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import isinf
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from glus.media.film_streams import OPTIONS

FALLBACK, PLANES = "aac", "fltp"
PLAIN_SAMPLES = "pcm_"  # allowed in an mp4, where few players read them


@contextmanager
def sound_of(film: Path | None, target: OutputContainer, begin_s: float, end_s: float) -> Iterator[Iterator[Packet]]:
    """Adds a sound stream to a container that is about to be written, and gives its packets in their order.

    Args:
        film: None: there is no sound.
        begin_s: where the part that is taken begins, on the film's clock; time 0 of the container.
        end_s: where it ends.
    """
    if film is None:
        yield iter(())
        return
    with av.open(str(film.absolute()), options=OPTIONS) as source:  # was examined; errors inside are of the new film
        stream = source.streams.best("audio")
        assert isinstance(stream, AudioStream)
        codec = stream.codec_context.name
        copied = codec in target.supported_codecs and not codec.startswith(PLAIN_SAMPLES)
        make = _copied if copied else _encoded
        yield make(source, stream, target, (begin_s, end_s))


def _copied(
    source: InputContainer, stream: AudioStream, target: OutputContainer, part: tuple[float, float]
) -> Iterator[Packet]:
    own = target.add_stream_from_template(stream)
    return _move(_in_part(source, stream, part), own, _zero(source, stream, part[0]))


def _move(packets: Iterator[Packet], own: AudioStream, shift: int) -> Iterator[Packet]:
    for packet in packets:
        packet.stream = own
        packet.pts, packet.dts = (None if time is None else time - shift for time in (packet.pts, packet.dts))
        yield packet


def _encoded(
    source: InputContainer, stream: AudioStream, target: OutputContainer, part: tuple[float, float]
) -> Iterator[Packet]:
    own = target.add_stream(FALLBACK, rate=stream.rate, layout=_layout(stream), format=PLANES)
    assert isinstance(own, AudioStream)
    return _encode(_samples(source, stream, part), own)


def _encode(pieces: Iterator[np.ndarray], own: AudioStream) -> Iterator[Packet]:
    count = 0
    for piece in pieces:
        frame = av.AudioFrame.from_ndarray(piece, format=PLANES, layout=own.layout)
        frame.sample_rate, frame.pts, frame.time_base = own.rate, count, Fraction(1, own.rate)
        count += frame.samples
        yield from own.encode(frame)
    yield from own.encode(None)


def _samples(source: InputContainer, stream: AudioStream, part: tuple[float, float]) -> Iterator[np.ndarray]:
    """The samples of a part of the film, float32 [channels, n] each."""
    zero, resampler = _zero(source, stream), av.AudioResampler(PLANES, _layout(stream), stream.rate)
    wanted = round(part[0] * stream.rate)  # sample of the film that comes next
    end = None if isinf(part[1]) else round(part[1] * stream.rate)
    for frame in source.decode(stream):
        begin = round(((frame.pts or 0) - zero) * (frame.time_base or 0) * stream.rate)
        for piece in resampler.resample(frame):
            samples = piece.to_ndarray()[:, max(0, wanted - begin) : None if end is None else max(0, end - begin)]
            begin += piece.samples
            if samples.shape[1]:
                yield np.ascontiguousarray(samples)
                wanted = begin
        if end is not None and begin >= end:
            return


def _layout(stream: AudioStream) -> str:
    """Of the sound that is encoded; many files tell a number of channels only."""
    return "mono" if stream.channels == 1 else "stereo"


def _in_part(source: InputContainer, stream: AudioStream, part: tuple[float, float]) -> Iterator[Packet]:
    """Packets that begin within a part of the film."""
    zero = _zero(source, stream)
    for packet in source.demux(stream):
        if packet.pts is None:
            continue
        time = float((packet.pts - zero) * packet.time_base)
        if time >= part[1]:
            return
        if time >= part[0] or part[0] == 0:  # at the very beginning, what leads the decoder in has negative times
            yield packet


def _zero(source: InputContainer, stream: AudioStream, begin_s: float = 0) -> int:
    """Where the film begins, or a time in it, in units of the stream."""
    began = Fraction(source.start_time or 0, av.time_base) + Fraction(begin_s)
    return round(began / (stream.time_base or Fraction(1, av.time_base)))
