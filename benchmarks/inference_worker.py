"""One way to segment a clip, by the build on the path: CPU seconds, language-model tokens and logits as JSON."""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from glus import GLUS, segment_video


def main() -> None:
    torch.set_num_threads(1)
    task = json.loads(sys.argv[1])
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
