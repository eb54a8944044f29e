#!/usr/bin/env bash
# PyAV 18.1.0, libx264, x86-64: the bytes of an encoded film depend on what the process's memory held before. The
# macroblock tree (on by default) reads what nothing has written; without it, or without assembly, the bytes are equal.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$work"
cat > encode.py <<'PY'
import hashlib
import sys

import av
import numpy as np

pictures = np.random.default_rng(0).integers(0, 255, (3, 60, 108, 3), np.uint8).repeat(8, 1).repeat(8, 2)
with av.open("film.mp4", "w") as film:
    stream = film.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = 864, 480, "yuv420p"
    stream.codec_context.thread_count = 1
    stream.options = {"preset": "veryfast", "x264-params": sys.argv[1]}
    for picture in pictures:
        film.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
    film.mux(stream.encode())
print(hashlib.sha256(open("film.mp4", "rb").read()).hexdigest())
PY
# glibc fills each block that it gives away with one value; large blocks come from it too
different() {
    for value in 1 2 3 4; do
        MALLOC_PERTURB_=$value MALLOC_MMAP_THRESHOLD_=1000000000 env/bin/python encode.py "$1"
    done | sort -u | wc -l
}
default=$(different mbtree=1) without_tree=$(different mbtree=0) without_assembly=$(different asm=0)
echo "different files in 4 runs: $default, without the macroblock tree $without_tree, without assembly $without_assembly"
[ "$default" -gt 1 ] && [ "$without_tree" -eq 1 ] && [ "$without_assembly" -eq 1 ]
