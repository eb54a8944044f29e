"""`glus segment` on a film of 480p: CPU seconds per frame of this build and of the build at commit 2f5c2ac.

Decoding, the tiny model (random weights that say [SEG] wherever they are asked), the overlay video with its encoding,
and writing are included; what a process needs to start is not: it is the difference between a long and a short film.
The build before is taken from this repository's history. One process after another, one thread each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from inference import BEFORE, ROOT, build_before

SIZE, RATE = (854, 480), 25
TEXT = "the red circle"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=72)
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        segment(options.worker)
    else:
        compare(options.frames)


def compare(num_frames: int) -> None:
    with tempfile.TemporaryDirectory() as folder, build_before(Path(folder)) as before:
        work, short = Path(folder), num_frames // 3
        build_model(work / "model")
        for length in (short, num_frames):
            write_film(work / f"{length}.mp4", length)

        def seconds_per_frame(tree: Path, name: str, *options: str) -> float:
            used = [cpu_seconds(tree, work, name, length, options) for length in (short, num_frames)]
            return (used[1] - used[0]) / (num_frames - short)

        reference = seconds_per_frame(before, "before")
        print(f"build {BEFORE}: {reference * 1e3:.0f} ms of CPU a frame", flush=True)
        for stride in (1, 4):
            seconds = seconds_per_frame(ROOT, f"stride{stride}", "--window-stride", str(stride))
            print(
                f"this build, stride {stride}: {seconds * 1e3:.0f} ms, {reference / seconds:.2f} times less", flush=True
            )


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


def cpu_seconds(tree: Path, work: Path, name: str, length: int, options: tuple[str, ...]) -> float:
    """CPU seconds of a process that runs the command of a working tree."""
    arguments = [str(work / f"{length}.mp4"), "-e", TEXT, "--model", str(work / "model")]
    process = subprocess.Popen(
        [sys.executable, __file__, "--worker", *arguments, "-o", str(work / f"{name}-{length}"), *options],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tree, ROOT))), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} failed")
    return used.ru_utime + used.ru_stime


def segment(arguments: list[str]) -> None:
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
    run(["segment", *arguments])


if __name__ == "__main__":
    main()
