#!/usr/bin/env bash
# PyAV 18.1.0: the empty packets with which `demux` ends, one for each stream, all have `stream_index` 0, whatever their
# `stream` is. Whoever picks packets by `stream_index` never flushes the decoder of another stream and loses its last
# frames, without an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$work"
env/bin/python - <<'PY'
import av
import numpy as np

with av.open("film.mkv", "w") as film:
    streams = [film.add_stream("libx264", rate=5) for _ in range(2)]
    for stream in streams:
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
    for number in range(12):
        for stream in streams:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * number, np.uint8))))
    for stream in streams:
        film.mux(stream.encode())


def frames_of_second_stream(index_of) -> int:
    with av.open("film.mkv") as film:
        return sum(len(packet.decode()) for packet in film.demux() if index_of(packet) == 1)


with av.open("film.mkv") as film:
    last = [(packet.stream_index, packet.stream.index, packet.size) for packet in film.demux()][-2:]
found = frames_of_second_stream(lambda packet: packet.stream_index), frames_of_second_stream(lambda packet: packet.stream.index)
print(f"last packets (stream_index, stream.index, bytes): {last}")
print(f"frames of the second stream, 12 were written: {found[0]} by stream_index, {found[1]} by stream.index")
assert last == [(0, 0, 0), (0, 1, 0)], "changed"
assert found[0] < found[1] == 12, "changed"
PY
