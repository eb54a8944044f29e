"""Peak memory of a process that segments a film, by its length, its sentences and where segmentation starts.

The film is drawn frame by frame (854 x 480), so that nothing of it is held but what the engine holds; the model is of
the tiny default's size, with random weights, and says [SEG] wherever it is asked. Masks leave as run lengths to a
Parquet file. Each line is a process of its own; the entries of every store are the most that were seen.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ["the red circle", "the small green square", "the ball that moves", "the blue box"]
SIZE = 854, 480
MEBIBYTE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[50, 500, 2000])
    parser.add_argument("--sentences", type=int, nargs="+", default=[1, 4], choices=range(1, len(TEXTS) + 1))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        segment_film(**json.loads(options.worker))
    else:
        compare(options.frames, options.sentences)


def compare(lengths: list[int], sentences: list[int]) -> None:
    print(f"{'frames':>7}{'sentences':>11}{'start':>9}{'peak MiB':>10}{'frames/s':>10}  stores: most entries (bound)")
    for num_texts in sentences:
        peaks = []
        for middle in (False, True):
            for num_frames in lengths:
                report, peak = measure({"num_frames": num_frames, "num_texts": num_texts, "middle": middle})
                peaks.append(peak)
                stores = ", ".join(f"{name} {most} ({bound})" for name, (most, bound) in report["stores"].items())
                start = "middle" if middle else "first"
                print(
                    f"{num_frames:>7}{num_texts:>11}{start:>9}{peak:>10.0f}{report['frames_per_s']:>10.1f}  {stores}",
                    flush=True,
                )
        print(f"largest / smallest with {num_texts} sentences: {max(peaks) / min(peaks):.3f}\n", flush=True)


def measure(task: dict) -> tuple[dict, float]:
    """What a process reports and its peak memory in MiB."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--worker", json.dumps(task)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{task} failed")
    return json.loads(output), used.ru_maxrss * 1024 / MEBIBYTE


def segment_film(num_frames: int, num_texts: int, middle: bool) -> None:
    import torch

    from glus import segment_video
    from glus.config import load_config
    from glus.masks import encode_rle
    from glus.model.scratch import build_from_scratch
    from glus.processing.conversation import conversation_texts
    from glus.processing.sentences import IM_END, IM_START, SEG
    from glus.processing.tokenizer import train_tokenizer
    from glus.records.tables import TableWriter

    torch.set_num_threads(1)
    tokenizer = train_tokenizer([*conversation_texts(), *TEXTS], 400)
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    model = build_from_scratch(load_config(Path("params.yaml")).model, tokenizer, seed=0).eval()
    chosen = torch.nn.functional.one_hot(torch.tensor(model.seg_id), len(tokenizer)).float()
    model.seg_logits = lambda states: chosen.expand(len(states), -1)
    session = segment_video(
        model, drawn_film(num_frames), TEXTS[:num_texts], key_frame=num_frames // 2 if middle else 0, stream=True
    )
    most: dict[str, tuple[int, int]] = {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, TableWriter("predictions", Path(folder) / "masks.parquet") as table:
        for frame in session:
            for number, mask, generated in zip(frame.numbers, frame.masks, frame.seg_token_generated, strict=True):
                table.add(
                    {
                        "dataset": "own", "split": "film", "video_id": "film", "expression_id": str(number),
                        "frame_index": frame.index, "height_px": SIZE[1], "width_px": SIZE[0],
                        "rle_counts": encode_rle(mask), "seg_token_generated": bool(generated), "mean_logit": None,
                    }
                )  # fmt: skip
            for name, (entries, bound) in session.entries().items():
                most[name] = max(most.get(name, (0, 0))[0], entries), bound
    seconds = time.perf_counter() - start
    print(json.dumps({"stores": most, "frames_per_s": num_frames / seconds}))


def drawn_film(num_frames: int):
    """A disc that crosses a patterned picture."""
    import numpy as np
    from PIL import Image, ImageDraw

    from glus.media.sources import FrameSource, number_frames

    ground = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize(SIZE)

    def draw(index: int) -> Image.Image:
        frame = picture.copy()
        left = index * 7 % SIZE[0]
        ImageDraw.Draw(frame).ellipse((left, 200, left + 120, 320), fill=(220, 30, 30))
        return frame

    return FrameSource("drawn film", None, SIZE, number_frames(num_frames), range(num_frames), draw)


if __name__ == "__main__":
    main()
