"""What `glus segment --precision` and `--compile` cost: J&F of the default's families, on held-out clips.

Run from the project's root after `make demo`: `.venv/bin/python -m experiments.precision`.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from glus.config import load_config
from glus.inference import VideoSession
from glus.masks import encode_rle
from glus.metrics.scoring import VideoTask, score_predictions
from glus.model.glus import GlusModel
from glus.paths import FINAL_MODEL, key_frame_table
from glus.pipeline.artifacts import open_split
from glus.processing.staged_frames import staged_frames
from glus.records.split import StagedSplit
from glus.records.video import Expression, Video
from glus.segmenting.models import Models
from glus.segmenting.requests import Precision, SegmentRequest
from glus.steps.propagate import load_key_frames

SPLIT, FAMILIES = "synthetic/test", ("appearance", "greyed", "starts_grey")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="take every n-th clip")
    parser.add_argument("--precision", nargs="+", type=Precision, default=list(Precision), choices=list(Precision))
    parser.add_argument("--compile", action="store_true", help="compile the image encoder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for precision in options.precision:
        model = Models(SegmentRequest(Path(FINAL_MODEL), precision=precision, compiled=options.compile)).glus
        start = time.process_time()
        found = score(model, options.every)
        seconds = time.process_time() - start
        families = ", ".join(f"{family} {np.mean(found[family]):.2f}" for family in FAMILIES if family in found)
        values = np.concatenate(list(found.values()))
        print(f"{precision}: {families}, all {values.mean():.2f} ({len(values)} sentences, {seconds:.0f} s of CPU)")


def score(model: GlusModel, every: int) -> dict[str, list[float]]:
    """J&F of each sentence, by family, in percent."""
    config = load_config()
    split, key_frames, found = open_split(config, SPLIT), load_key_frames(key_frame_table(SPLIT)), defaultdict(list)
    for video in list(split.videos.values())[::every]:
        asked = tuple(item for item in split.expressions[video.video_id] if item.family in FAMILIES)
        if asked:
            starts = [key_frames[video.video_id, item.expression_id] for item in asked]
            for of_one in score_predictions(segmented(model, split, video, asked, starts), config.evaluate.boundary):
                found[of_one.family].append(100 * of_one.jf)
    return found


def segmented(
    model: GlusModel, split: StagedSplit, video: Video, asked: tuple[Expression, ...], starts: list[int]
) -> VideoTask:
    """Masks of one clip as the scorer wants them."""
    session = VideoSession(model, staged_frames(split, video))
    for item, start in zip(asked, starts, strict=True):
        session.add(item.text, key_frame=start)
    tracks: dict[str, dict[int, str]] = {item.expression_id: {} for item in asked}
    for frame in session:
        for number, mask in zip(frame.numbers, frame.masks, strict=True):
            tracks[asked[number].expression_id][frame.index] = encode_rle(mask)
    return VideoTask(split.dataset, split.split, video, asked, split.mask_rles(video.video_id), tracks)


if __name__ == "__main__":
    main()
