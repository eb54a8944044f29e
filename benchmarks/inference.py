"""Segmenting one video: today's build, the plain path and the build before, at a size with the 7B model's proportions.

A model of random weights (LLaMA 512 wide with 8 layers, CLIP at 224 px) that says [SEG] wherever it is asked segments
the same clip in the plain way (every prompt whole, every frame encoded anew, one sentence after another), in the build
at commit 2f5c2ac (taken from this repository's history) and in this one at window strides 1, 2 and 4, one process
after another, one thread. CPU seconds, warm-up left out, medians. Logits of all exact ways are compared.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from builds import ROOT, build_at, measure

BEFORE = "2f5c2ac"
TEXTS = [
    "the white dog that jumps over the fence", "the yellow bird on the left", "which of the two cars turns left",
    "the person who holds a red umbrella", "the last sheep", "the boat closest to us", "the cat sleeping on a chair",
    "the player with number seven",
]  # fmt: skip
SHAPES = [
    "model.language={vocabulary: 640, hidden_size: 512, intermediate_size: 1376, num_layers: 8, num_heads: 8}",
    "model.vision={image_size: 224, patch_size: 14, hidden_size: 256, intermediate_size: 512, num_layers: 4,"
    " num_heads: 4}",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=14)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        segment_clip(json.loads(options.worker))
    else:
        compare(options.frames, options.repeats)


def compare(num_frames: int, repeats: int) -> None:
    with tempfile.TemporaryDirectory() as folder, build_at(BEFORE, Path(folder)) as before:
        work = Path(folder)
        build_model(work / "model")
        clip = np.random.default_rng(0).integers(0, 256, (num_frames, 120, 160, 3), dtype=np.uint8)
        np.save(work / "clip.npy", clip)

        def run(tree: Path, way: str, num_texts: int, **settings: int) -> dict:
            task = {"folder": str(work), "way": way, "texts": TEXTS[:num_texts], "settings": settings}
            return measure(__file__, tree, task | {"repeats": repeats})

        print(f"{num_frames} frames; s: CPU seconds per sentence and frame; tokens: of the language model")
        print(f"{'':34}{'s':>8}{'tokens':>9}{'times less time':>17}{'times fewer tokens':>20}{'difference':>12}")
        for num_texts in (1, 8):
            rows = {f"build {BEFORE}": run(before, "segment_video", num_texts)}
            for stride in (1, 2, 4):
                rows[f"this build, stride {stride}"] = run(ROOT, "segment_video", num_texts, window_stride=stride)
            if num_texts == 1:
                rows = {"plain path": run(ROOT, "plain", 1)} | rows
            reference = rows[f"build {BEFORE}"]
            for name, row in rows.items():
                share = num_texts * num_frames
                exact = "stride 2" not in name and "stride 4" not in name
                difference = np.abs(np.array(row["logits"]) - np.array(reference["logits"])).max()
                print(
                    f"{num_texts} sentence{'s' * (num_texts > 1):1}, {name:22}{row['seconds'] / share:8.3f}"
                    f"{row['tokens'] / share:9.0f}{reference['seconds'] / row['seconds']:17.2f}"
                    f"{reference['tokens'] / row['tokens']:20.2f}" + (f"{difference:12.1e}" if exact else "")
                )
                assert not exact or difference <= 1e-4, "an exact way gives other logits"


def build_model(folder: Path) -> None:
    from glus.commands.params import edited
    from glus.config import load_config
    from glus.model.scratch import build_from_scratch
    from glus.processing.conversation import conversation_texts
    from glus.processing.sentences import IM_END, IM_START, SEG
    from glus.processing.tokenizer import train_tokenizer
    from glus.weights.saved import save_glus

    os.chdir(ROOT)
    parameters = folder.with_name("params.yaml")
    parameters.write_text(edited(ROOT / "params.yaml", SHAPES))
    config = load_config(parameters)
    tokenizer = train_tokenizer([*conversation_texts(), *TEXTS], config.model.language.vocabulary)
    tokenizer.add_tokens([SEG, IM_START, IM_END])
    model = build_from_scratch(config.model, tokenizer, seed=0)
    save_glus(model, model.state_dict(), folder)


def segment_clip(task: dict) -> None:
    """One way to segment the clip, by the build on the path; prints seconds, tokens and logits."""
    import torch
    from PIL import Image
    from torch.nn import functional

    from glus import GLUS, segment_video

    torch.set_num_threads(1)
    folder = Path(task["folder"])
    clip = np.load(folder / "clip.npy")
    model = GLUS.from_pretrained(folder / "model")
    vocabulary = len(model.tokenizer)
    model.seg_logits = (
        lambda states: functional.one_hot(  # what random weights do not say
            torch.full(states.shape[:-1], model.seg_id), vocabulary
        ).float()
    )

    def segment() -> np.ndarray:
        if task["way"] == "plain":
            from tests.inference.published import PlainPass

            images = [Image.fromarray(frame) for frame in clip]
            return np.stack([PlainPass(model, images, text).run(range(len(clip))).numpy() for text in task["texts"]])
        return segment_video(model, clip, task["texts"], **task["settings"]).logits

    tokens: list[int] = []
    first = model.language_model.model.layers[0].mlp
    hook = first.register_forward_pre_hook(lambda _, args: tokens.append(args[0][..., 0].numel()))
    segment_video(model, clip[:2], task["texts"][:1])  # warm-up
    tokens.clear()
    seconds = []
    for _ in range(task["repeats"]):
        start = time.process_time()
        logits = segment()
        seconds.append(time.process_time() - start)
    hook.remove()
    report = {
        "seconds": statistics.median(seconds),
        "tokens": sum(tokens) / task["repeats"],
        "logits": np.nan_to_num(logits).round(6).tolist(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
