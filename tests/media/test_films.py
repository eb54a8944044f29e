"""Films: the pictures, times and sizes that a player shows, damage named, frames out of order as in order."""

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from drawn_films import HEIGHT, NUM_FRAMES, TURNS, WIDTH, draw, numbers_of, write_film
from PIL import Image

from glus.errors import InputError
from glus.media import films
from glus.media.film_duration import without_frame
from glus.media.sources import open_frames

INVERSE = {Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90}
ALL = list(range(NUM_FRAMES))


@pytest.mark.parametrize("matrix", TURNS)
def test_turned_films_are_read_upright(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    turn = TURNS[matrix]
    stored = [draw(number) if turn is None else draw(number).transpose(INVERSE.get(turn, turn)) for number in ALL]
    source = open_frames(write_film(tmp_path / "film.mp4", stored, matrix=matrix))
    assert source.size == (WIDTH, HEIGHT)
    assert numbers_of(source) == ALL
    assert np.abs(np.asarray(source[3]).astype(int) - np.asarray(draw(3))).mean() < 4


def test_a_film_that_is_not_turned_by_quarters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not turned by quarters"):
        open_frames(write_film(tmp_path / "film.mp4", matrix=(1, 1, -1, 1)))


@pytest.mark.parametrize(
    ("pixel_aspect", "size"),
    [(Fraction(2), (192, 64)), (Fraction(1, 2), (96, 128)), (Fraction(16, 15), (102, 64)), (Fraction(1), (96, 64))],
)
def test_pixels_become_square_by_enlarging(tmp_path: Path, pixel_aspect: Fraction, size: tuple[int, int]) -> None:
    source = open_frames(write_film(tmp_path / "film.mp4", pixel_aspect=pixel_aspect))
    assert source.size == size == source[0].size
    assert np.abs(np.asarray(source[5]).astype(int) - np.asarray(draw(5, size))).mean() < 6


def test_a_film_tells_its_times(tmp_path: Path) -> None:
    times = [0.04 * index if index < 6 else 0.24 + 0.5 * (index - 6) for index in ALL]
    source = open_frames(write_film(tmp_path / "film.mkv", times_s=times))
    assert source.times_s == pytest.approx(times, abs=0.001)
    assert source.end_s > times[-1]
    part = source[2:9:3]
    assert numbers_of(part) == [2, 5, 8]
    assert part.frame_names == ("00002", "00005", "00008") and list(part.indices) == [2, 5, 8]
    assert part.times_s == source.times_s[2:9:3] and part.end_s == source.times_s[11]
    assert numbers_of(part[1:]) == [5, 8]


@pytest.mark.parametrize(
    ("codec", "suffix", "pixel_format", "options"),
    [
        ("libx264", "mp4", "yuv420p", {"g": "6", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
        ("libx264", "mkv", "yuv444p", {"g": "4"}),
        ("libx264", "mov", "yuv420p10le", {"g": "12"}),
        ("libvpx", "webm", "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "10", "b": "300k"}),
        ("libvpx-vp9", "webm", "yuv420p", {"cpu-used": "8"}),
        ("mpeg4", "avi", "yuv420p", {"g": "4"}),
        ("mpeg2video", "ts", "yuv420p", {"g": "4", "bf": "2"}),
        ("mjpeg", "avi", "yuvj420p", {}),
        ("ffv1", "mkv", "gray16le", {}),
    ],
)
def test_frames_in_any_order_are_those_read_forwards(
    tmp_path: Path, codec: str, suffix: str, pixel_format: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(films, "HELD_BYTES", 3 * 2 * WIDTH * HEIGHT)
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    path = write_film(tmp_path / f"film.{suffix}", codec=codec, pixel_format=pixel_format, options=options, rate=25)
    source = open_frames(path)
    forwards = [np.asarray(picture) for picture in source]
    assert numbers_of(map(Image.fromarray, forwards)) == ALL
    order = [*reversed(ALL), *random.Random(0).sample(ALL, NUM_FRAMES), 11, 0, 11]
    assert all((np.asarray(source[number]) == forwards[number]).all() for number in order)


def test_reading_backwards_decodes_few_frames_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for a third of the film, three times forwards through it are enough."""
    monkeypatch.setattr(films, "HELD_BYTES", 4 * 2 * WIDTH * HEIGHT)
    decoded = 0
    decode = films._decode

    def counted(*arguments):
        nonlocal decoded
        for frame in decode(*arguments):
            decoded += 1
            yield frame

    monkeypatch.setattr(films, "_decode", counted)
    source = open_frames(write_film(tmp_path / "film.mp4"))
    assert numbers_of(reversed(source)) == ALL[::-1]
    assert decoded == 12 + 8 + 4
    assert numbers_of(source) == ALL
    assert decoded == 12 + 8 + 4 + 12 - 4  # the first four are still held
    assert len(source.read.__self__._held) <= 2  # and let go on the way


@pytest.mark.parametrize("suffix", ["mkv", "avi", "mp4"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_films_that_broke_off_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = write_film(tmp_path / f"film.{suffix}", codec="mpeg4", options={"g": "1"})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError) as refused:
        open_frames(path)
    if suffix == "mkv":
        lost = int(str(refused.value).split(" of 12 frames are lost")[0].split()[-1])
        assert abs(lost - 12 * (1 - share)) <= 3


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pictures = [Image.fromarray(noise.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)) for _ in ALL]
    path = write_film(tmp_path / "film.mp4", pictures, options={"g": "1"})
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][7]
        start, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[start + 100 : start + size] = noise.bytes(size - 100)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be decoded completely: frame 7 \(0\.70 s\)"):
        open_frames(path)


def test_sound_that_is_longer_or_shorter_than_the_film_is_no_damage(tmp_path: Path) -> None:
    for seconds in (0.3, 5.0):
        path = tmp_path / f"{seconds}.mkv"
        with_sound(write_film(tmp_path / "silent.mkv"), path, seconds)
        source = open_frames(path)
        assert source.has_sound and numbers_of(source) == ALL
    assert not open_frames(tmp_path / "silent.mkv").has_sound


def with_sound(film: Path, path: Path, seconds: float) -> None:
    """The film with a sound track before it."""
    with av.open(str(film)) as source, av.open(str(path), "w") as target:
        sound = target.add_stream("aac", rate=8000)
        pictures = target.add_stream_from_template(source.streams.video[0])
        samples = np.zeros((1, int(8000 * seconds)), np.float32)
        block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        block.sample_rate = 8000
        for packet in [*sound.encode(block), *sound.encode()]:
            target.mux(packet)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = pictures
                target.mux(packet)


def joined(path: Path, parts: list[tuple[Path, str]]) -> None:
    """One file of several films, each with its disposition."""
    with av.open(str(path), "w") as target:
        opened = [av.open(str(part)) for part, _ in parts]
        streams = [target.add_stream_from_template(part.streams.video[0]) for part in opened]
        for stream, (_, disposition) in zip(streams, parts, strict=True):
            stream.disposition = av.stream.Disposition[disposition] if disposition else av.stream.Disposition(0)
        packets = []
        for part, stream in zip(opened, streams, strict=True):
            for packet in part.demux(video=0):
                if packet.size:
                    packets.append((float((packet.dts or 0) * packet.time_base), packet, stream))
        for _, packet, stream in sorted(packets, key=lambda item: item[0]):
            packet.stream = stream
            target.mux(packet)
        for part in opened:
            part.close()


@pytest.mark.parametrize(("marks", "size"), [(("", "default"), (48, 32)), (("default", ""), (96, 64))])
def test_the_default_stream_is_read_and_the_other_one_named(
    tmp_path: Path, marks: tuple[str, str], size: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    large = write_film(tmp_path / "large.mp4")
    small = write_film(tmp_path / "small.mp4", [draw(number, (48, 32)) for number in ALL])
    joined(tmp_path / "both.mkv", [(large, marks[0]), (small, marks[1])])
    source = open_frames(tmp_path / "both.mkv")
    assert source.size == size and len(source) == NUM_FRAMES
    assert "2 video streams" in caplog.text


def test_a_film_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.ts"
    parts = [write_film(tmp_path / "a.ts", codec="mpeg2video")]
    parts.append(write_film(tmp_path / "b.ts", [draw(0, (48, 32))] * 3, codec="mpeg2video"))
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(InputError, match="changes its picture size or direction at frame 1"):
        open_frames(path)


def test_films_that_can_be_seen_through_are_refused(tmp_path: Path) -> None:
    def write(name: str, alpha: int) -> Path:
        pictures = [draw(number).convert("RGBA") for number in ALL]
        for picture in pictures:
            picture.putalpha(alpha)
        return write_film(tmp_path / name, pictures, codec="png", pixel_format="rgba")

    with pytest.raises(InputError, match="frame 0 can be seen through"):
        open_frames(write("through.mov", 100))
    assert numbers_of(open_frames(write("opaque.mov", 255))) == ALL


def test_other_things_are_no_films(tmp_path: Path) -> None:
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{write_film(tmp_path / 'film.ts', codec='mpeg2video')}\n")
    (tmp_path / "text.mp4").write_text("no film")
    (tmp_path / "empty.mp4").touch()
    for name in ("list.mp4", "text.mp4", "empty.mp4"):
        with pytest.raises(InputError, match=f"{name} cannot be read as a film"):
            open_frames(tmp_path / name)
    with pytest.raises(InputError, match="does not exist"):
        open_frames(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        ("gif", "gif", "rgb8"),
        ("ogv", "libvpx", "yuv420p"),
        ("ts", "mpeg2video", "yuv420p"),
        ("mkv", "libx264", "yuv420p"),
        ("webm", "libvpx", "yuv420p"),
    ],
)
def test_a_file_that_ends_before_its_container_does_is_refused(
    tmp_path: Path, suffix: str, codec: str, pixel_format: str
) -> None:
    """Also where no duration is announced, or where the last packet holds a frame that is shown before others."""
    path = write_film(tmp_path / f"film.{suffix}", codec=codec, pixel_format=pixel_format, rate=25)
    assert len(open_frames(path)) == NUM_FRAMES
    content = path.read_bytes()
    for lost in (50, len(content) // 3 + 1):
        path.write_bytes(content[:-lost])
        with pytest.raises(InputError, match=rf"film\.{suffix} (is damaged|shows no frames)"):
            open_frames(path)


@pytest.mark.parametrize(("suffix", "codec"), [("flv", "flv"), ("wmv", "wmv2")])
@pytest.mark.parametrize("times_s", [None, [0.0, 0.1, 0.2, 0.6, 0.7, 1.1]])
def test_films_that_tell_no_durations_of_frames(
    tmp_path: Path, suffix: str, codec: str, times_s: list[float] | None
) -> None:
    pictures = [draw(number) for number in range(len(times_s or ALL))]
    path = write_film(tmp_path / f"film.{suffix}", pictures, codec=codec, times_s=times_s)
    assert numbers_of(open_frames(path)) == list(range(len(pictures)))


def test_a_film_whose_pictures_begin_behind_its_sound_is_whole(tmp_path: Path) -> None:
    """In WMV: the sound's encoder begins before time 0, so that all is shifted."""
    with av.open(str(tmp_path / "film.wmv"), "w") as container:
        pictures = container.add_stream("wmv2", rate=25, width=96, height=64, pix_fmt="yuv420p")
        tone = container.add_stream("wmav2", rate=44100, layout="mono", bit_rate=64000)
        for number in range(NUM_FRAMES):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(np.asarray(draw(number)), "rgb24")))
        container.mux(pictures.encode())
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 44100 * NUM_FRAMES // 25), np.int16), "s16", "mono")
        samples.sample_rate, samples.pts, samples.time_base = 44100, 0, Fraction(1, 44100)
        container.mux(tone.encode(samples))
        container.mux(tone.encode())
    assert numbers_of(open_frames(tmp_path / "film.wmv")) == list(range(NUM_FRAMES))


@pytest.mark.parametrize(
    ("packets", "frames", "lost"),
    [
        ([0, 10, 30, 20], [0, 10, 20, 30], []),
        ([0, 30, 20, 10, 40], [0, 10, 30, 40], [20]),
        ([0, 5, 10, 15, 20, 25], [0, 10, 20], []),  # fields
        ([0, 10, 20, 90], [0, 10, 20, 90], []),  # a frame that is shown for long
        ([0, 10], [10], []),  # what is shown before the first frame is not lost
    ],
)
def test_packets_without_a_frame(packets: list[int], frames: list[int], lost: list[int]) -> None:
    assert without_frame(packets, frames) == lost


def test_what_a_decoder_logs_alone_is_heard_each_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """FFmpeg does not repeat itself unless it is asked to."""
    path = write_film(tmp_path / "film.gif", codec="gif", pixel_format="rgb8")
    content = bytearray(path.read_bytes())
    image = content.index(b"\x21\xf9", len(content) // 2)  # a frame's control block, in front of its picture
    content[image + 30 : image + 36] = b"\xff" * 6
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(InputError, match="1 of its frames cannot be decoded completely: frame 6"):
            open_frames(path)
    assert capfd.readouterr() == ("", "")
