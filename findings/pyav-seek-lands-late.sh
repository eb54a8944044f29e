#!/usr/bin/env bash
# PyAV 18.1.0: in an mp4 with open groups of pictures, a backward seek to a frame that is shown shortly before a key
# frame lands on that key frame, so the frame that was asked for is not decoded at all. No error is raised.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$work"
env/bin/python - <<'PY'
import av
import numpy as np

with av.open("film.mp4", "w") as film:
    stream = film.add_stream("libx264", rate=25)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    stream.options = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:open-gop=1:bframes=3:b-adapt=0"}
    for number in range(120):
        picture = np.full((64, 64, 3), 2 * number, np.uint8)
        picture[:, : number % 64] = 255 - number
        film.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
    film.mux(stream.encode())

with av.open("film.mp4") as film:
    stream = film.streams.video[0]
    times = [frame.pts for frame in film.decode(stream)]
    late = {}
    for number, time in enumerate(times):
        film.seek(time, stream=stream, backward=True)
        found = next(film.decode(stream)).pts
        if found > time:
            late[number] = times.index(found)
print(f"{len(late)} of {len(times)} seeks land too late, e.g. frame asked for -> frame decoded: {dict(list(late.items())[:3])}")
assert len(times) == 120
assert late == {key - back: key for key in range(12, 120, 12) for back in (3, 2, 1)}, "changed"
PY
