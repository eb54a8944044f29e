"""What the image phase learns by itself: J&F and referent of single frames, by family (a table of docs/LOG.md).

Trains the image phase of `params.yaml`, and the alignment phase where it has steps, in one process, and scores the
middle frame of each clip of the validation split on the way. Needs `glus stage`. Run from the project's root:
`.venv/bin/python -m experiments.image_phase`.
"""

import argparse
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from glus.config import SingleQueryPhaseConfig, load_config
from glus.masks import encode_rle
from glus.metrics.scoring import TRIVIAL_BASELINES, ExpressionScore, VideoTask, score_video
from glus.model.glus import GlusModel
from glus.model.sam2 import resize_logits
from glus.pipeline.artifacts import open_split
from glus.processing.context_frames import centre_context_frames
from glus.processing.conversation import INFERENCE_ANSWER, INFERENCE_QUESTION
from glus.records.split import StagedSplit
from glus.records.video import Video
from glus.steps.train import build_trainer
from glus.training.loop.curves import Curves
from glus.training.loop.engine import open_engine
from glus.training.loop.phase import Hooks
from glus.training.loop.sampling import VideoDraw
from glus.training.segmentation.objectives import encode_clip, seg_hidden
from glus.training.segmentation.samples import BatchBuilder, ClipSample

SPLIT = "synthetic/valid_u"
WORK = Path(".glus/experiments/image_phase")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=100, help="steps between scores")
    every = parser.parse_args().every
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = load_config()
    split, image, before = open_split(config, SPLIT), config.train.image, config.train.alignment.steps

    def on_step(step: int) -> None:
        if step > before and ((step - before) % every == 0 or step == before + image.steps):
            model.eval()
            report(step, [score for video in split.videos.values() for score in scores(model, split, video, image)])
            model.train()

    with open_engine(config.compute) as engine:
        model, trainer = build_trainer(config, WORK, engine, Hooks(on_step=on_step), Curves())
        trainer.phases = [phase for phase in trainer.phases if phase.name in ("alignment", "image")]
        trainer.run()


def report(step: int, found: list[ExpressionScore]) -> None:
    """One line for each family."""
    families: dict[str | None, list[ExpressionScore]] = defaultdict(list)
    for score in found:
        families[score.family].append(score)
    for family, of_family in families.items():
        trivial = max(np.mean([np.mean(score.baselines[name]) for score in of_family]) for name in TRIVIAL_BASELINES)
        referent = [score.referent_correct for score in of_family if score.referent_correct is not None]
        right = f"{100 * np.mean(referent):.0f} %" if referent else "-"
        jf = 100 * np.mean([score.jf for score in of_family])
        print(
            f"step {step} ({time.process_time():.0f} s of CPU), {family}: J&F {jf:.1f}, best trivial"
            f" {100 * trivial:.1f}, referent {right}, {len(of_family)} sentences",
            flush=True,
        )


@torch.no_grad()
def scores(
    model: GlusModel, split: StagedSplit, video: Video, image: SingleQueryPhaseConfig
) -> Iterator[ExpressionScore]:
    """Scores of one frame of a clip, for the sentences whose target is seen there."""
    frame = video.num_frames // 2
    annotated = {name: track for name, track in split.mask_rles(video.video_id).items() if frame in track}
    asked = [
        item
        for item in split.expressions[video.video_id]
        if item.family in image.families and annotated.keys() >= set(item.annotation_ids)
    ]
    if frame in video.ambiguous_frames or not asked:
        return
    context = centre_context_frames(video.num_frames, image.num_context_frames)
    texts = ([[INFERENCE_QUESTION]] * len(asked), [[INFERENCE_ANSWER]] * len(asked))
    builder = BatchBuilder(model.tokenizer, model.transform, model.mllm.tokens_per_frame)
    batch = builder.build([ClipSample(VideoDraw(split, video, asked), context, [frame], asked, *texts)])
    prompts = model.seg_prompts(seg_hidden(model, batch).seg)
    features = encode_clip(model, batch.sam2_pixels)[batch.clip_of]
    logits = model.masks.decode(model.masks.condition(features, []), features, prompts[:, 0], dynamic_multimask=False)
    masks = (resize_logits(logits, video.height_px, video.width_px) > 0).numpy()
    task = VideoTask(
        dataset=split.dataset,
        split=split.split,
        video=replace(video, num_frames=1, frame_names=video.frame_names[frame : frame + 1], ambiguous_frames=()),
        expressions=tuple(asked),
        truth={name: {0: track[frame]} for name, track in annotated.items()},
        predictions={item.expression_id: {0: encode_rle(mask)} for item, mask in zip(asked, masks, strict=True)},
    )
    yield from score_video(task, bound_th=0.008, seed=0)


if __name__ == "__main__":
    main()
