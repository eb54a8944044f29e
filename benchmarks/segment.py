"""`glus segment` on a film of 480p: CPU seconds per frame of this build and of the build at commit 2f5c2ac.

Decoding, the tiny model (random weights that say [SEG] wherever they are asked), the overlay video with its encoding,
and writing are included, and loading the model; a process segments a short film first, so that its start is not.
The build before is taken from this repository's history. One process after another, one thread each.
"""

import argparse
import json
import statistics
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from builds import ROOT, build_at, measure
from inference import BEFORE

SIZE, RATE = (854, 480), 25
TEXT = "the red circle"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        segment(json.loads(options.worker))
    else:
        compare(options.frames, options.repeats)


def compare(num_frames: int, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder, build_at(BEFORE, Path(folder)) as before:
        work = Path(folder)
        build_model(work / "model")
        write_film(work / "warm-up.mp4", 8)
        write_film(work / "film.mp4", num_frames)
        ways = {
            f"build {BEFORE}": (before, []),
            "this build, stride 1": (ROOT, []),
            "this build, stride 4": (ROOT, ["--window-stride", "4"]),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for repeat in range(repeats):
            for number, (name, (tree, options)) in enumerate(ways.items()):
                task = {"work": folder, "output": f"{number}-{repeat}", "options": options}
                found[name].append(measure(__file__, tree, task)["seconds"] / num_frames * 1e3)
                print(f"{name}: {found[name][-1]:.1f} ms of CPU a frame", flush=True)
        reference, *medians = map(statistics.median, found.values())
        print("times less, medians:", ", ".join(f"{reference / median:.2f}" for median in medians))


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
    # masks of pictures alone, so that all ways draw the same: the more masks flicker, the more the encoder has to do
    model.text_hidden_fcs[-1].weight.data.zero_()
    save_glus(model, model.state_dict(), folder)


def segment(task: dict) -> None:
    """The command on both films, by the build on the path; prints the CPU seconds of the second one."""
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
    work, seconds = Path(task["work"]), 0.0
    for film in ("warm-up", "film"):
        output = work / f"{task['output']}-{film}"
        question = [str(work / f"{film}.mp4"), "-e", TEXT, "--model", str(work / "model"), "-o", str(output)]
        start = time.process_time()
        with suppress(SystemExit):
            run(["segment", *question, *task["options"]])
        seconds = time.process_time() - start
        assert (output / "overlay.mp4").is_file(), "the command failed"
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
