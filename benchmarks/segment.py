"""`glus segment` on a film of 480p: CPU seconds per frame of this build and of the build at commit 2f5c2ac.

Decoding, the tiny model (random weights that say [SEG] wherever they are asked), the overlay video with its encoding,
and writing are included, and loading the model; a process segments a short film first, so that its start is not.
The build before is taken from this repository's history. One process after another, one thread each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from inference import BEFORE, ROOT, build_before

SIZE, RATE = (854, 480), 25
TEXT = "the red circle"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        segment(*options.worker)
    else:
        compare(options.frames)


def compare(num_frames: int) -> None:
    with tempfile.TemporaryDirectory() as folder, build_before(Path(folder)) as before:
        work = Path(folder)
        build_model(work / "model")
        write_film(work / "warm-up.mp4", 8)
        write_film(work / "film.mp4", num_frames)
        reference = cpu_seconds(before, work, "before")
        print(f"build {BEFORE}: {reference / num_frames * 1e3:.1f} ms of CPU a frame", flush=True)
        for stride in (1, 4):
            seconds = cpu_seconds(ROOT, work, f"stride{stride}", "--window-stride", str(stride))
            per_frame, ratio = seconds / num_frames * 1e3, reference / seconds
            print(f"this build, stride {stride}: {per_frame:.1f} ms, {ratio:.2f} times less", flush=True)


def write_film(path: Path, num_frames: int) -> None:
    """A disc that wanders over a quiet background."""
    width, height = SIZE
    down, across = np.mgrid[:height, :width]
    ground = np.stack([down * 255 // height, across * 255 // width, (down + across) % 64 + 96], axis=-1).astype(
        np.uint8
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE, width=width, height=height, pix_fmt="yuv420p")
        for number in range(num_frames):
            picture = ground.copy()
            picture[(down - 240) ** 2 + (across - 100 - 4 * number) ** 2 < 80**2] = 220, 30, 30
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def build_model(folder: Path) -> None:
    from glus.config import load_config
    from glus.model.scratch import build_from_scratch
    from glus.processing.conversation import conversation_texts
    from glus.processing.sentences import IM_END, IM_START, SEG
    from glus.processing.tokenizer import train_tokenizer
    from glus.weights.saved import save_glus

    config = load_config(ROOT / "params.yaml")
    tokenizer = train_tokenizer([*conversation_texts(), TEXT], config.model.language.vocabulary)
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    model = build_from_scratch(config.model, tokenizer, seed=0)
    save_glus(model, model.state_dict(), folder)


def cpu_seconds(tree: Path, work: Path, name: str, *options: str) -> float:
    """CPU seconds that the command of a working tree takes in a process that has done a short film before."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", str(work), name, *options],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tree, ROOT))), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.splitlines()[-1])


def segment(work: str, name: str, *options: str) -> None:
    import torch

    from glus import GLUS
    from glus.cli import main as run

    torch.set_num_threads(1)
    logits = GLUS.seg_logits

    def forced(self: GLUS, hidden: torch.Tensor) -> torch.Tensor:
        values = logits(self, hidden)
        values[..., self.seg_id] = values.max() + 1
        return values

    GLUS.seg_logits = forced
    seconds = 0.0
    for film in ("warm-up", "film"):
        output = f"{work}/{name}-{film}"
        start = time.process_time()
        with suppress(SystemExit):
            run(["segment", f"{work}/{film}.mp4", "-e", TEXT, "--model", f"{work}/model", "-o", output, *options])
        seconds = time.process_time() - start
        assert Path(output, "overlay.mp4").is_file(), "the command failed"
    print(seconds)


if __name__ == "__main__":
    main()
