"""The sound of a film beside other pictures: its packets as they are where the container takes them, else as AAC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from glus.media.film_streams import film_container

FALLBACK = "aac"


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
    with film_container(film) as source:
        stream = source.streams.best("audio")
        assert isinstance(stream, AudioStream)
        copied = stream.codec_context.name in target.supported_codecs
        make = _copied if copied else _encoded
        yield make(source, stream, target, (begin_s, end_s))


def _copied(
    source: InputContainer, stream: AudioStream, target: OutputContainer, part: tuple[float, float]
) -> Iterator[Packet]:
    own = target.add_stream_from_template(stream)
    return _move(_in_part(source, stream, part), own, _shift(source, stream, part[0]))


def _move(packets: Iterator[Packet], own: AudioStream, shift: int) -> Iterator[Packet]:
    for packet in packets:
        packet.stream = own
        packet.pts, packet.dts = (None if time is None else time - shift for time in (packet.pts, packet.dts))
        yield packet


def _encoded(
    source: InputContainer, stream: AudioStream, target: OutputContainer, part: tuple[float, float]
) -> Iterator[Packet]:
    own = target.add_stream(FALLBACK, rate=stream.rate, layout=stream.layout)
    assert isinstance(own, AudioStream)
    return _encode(_in_part(source, stream, part), own, _shift(source, stream, part[0]))


def _encode(packets: Iterator[Packet], own: AudioStream, shift: int) -> Iterator[Packet]:
    for packet in packets:
        for frame in packet.decode():
            assert isinstance(frame, av.AudioFrame)
            frame.pts = None if frame.pts is None else frame.pts - shift
            yield from own.encode(frame)
    yield from own.encode(None)


def _in_part(source: InputContainer, stream: AudioStream, part: tuple[float, float]) -> Iterator[Packet]:
    """Packets that begin within a part of the film."""
    low, high = (part[0], part[1])
    zero = _shift(source, stream, 0)
    for packet in source.demux(stream):
        if packet.pts is None:
            continue
        time = float((packet.pts - zero) * packet.time_base)
        if time >= high:
            return
        if time >= low or low == 0:  # at the very beginning, what leads the decoder in has negative times
            yield packet


def _shift(source: InputContainer, stream: AudioStream, begin_s: float) -> int:
    """Time 0 of the new film, in units of the stream."""
    began = Fraction(source.start_time or 0, av.time_base) + Fraction(begin_s)
    return round(began / (stream.time_base or Fraction(1, av.time_base)))
