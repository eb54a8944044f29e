"""What each departure of the published code from the paper is worth on the generated set (a table of docs/LOG.md).

For each seed one image and one tracking phase, then a short clip phase for each switch, all from the same weights,
scored on the validation split. Needs `glus stage`; about 40 minutes of CPU. A run that was stopped goes
on; the table is printed from all results there are.
"""

import json
import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML

from glus import GLUS, segment_video
from glus.commands.params import PARAMS, edited
from glus.config import Config, parse_config
from glus.files import write_json
from glus.inference.published_names import published_sources
from glus.masks import encode_rle
from glus.metrics.scoring import ExpressionScore, VideoTask, score_video
from glus.pipeline.artifacts import open_split
from glus.processing.staged_frames import staged_frames
from glus.records.split import StagedSplit
from glus.records.video import Expression, Video
from glus.steps.train import build_trainer
from glus.training.loop.curves import Curves
from glus.training.loop.engine import open_engine
from glus.training.loop.phase import Hooks
from glus.training.segmentation.samples import summed_target, union_target

SEEDS = (0, 1)
CLIP_STEPS = 150
SPLIT = "synthetic/valid_u"
WORK = Path(".glus/experiments/published_switches")

VARIANTS = {  # name -> what differs from params.yaml
    "default": (),
    "detached memory": ("model.memory.detach=true",),
    "fresh projector": ("train.clip.fresh_text_hidden_fcs=true",),
    "penultimate layer": ("model.seg_layer=penultimate",),
    "same object negatives": ("train.contrastive.same_object_negatives=true",),
    "no single contributor": ("train.contrastive.single_contributor=false",),
}
DECIDES_THE_START = "model.seg_layer="  # the other switches act in the clip phase only
COLUMNS = (
    "appearance J", "referent", "greyed J on", "off", "starts grey J first", "key", "near the end",
    "appearance J from the middle", "with published names", "starts grey J, all frames", "with the published names",
)  # fmt: skip


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    report_overlaps()
    for seed in SEEDS:
        for name, overrides in VARIANTS.items():
            folder = WORK / f"seed-{seed}" / name.replace(" ", "_")
            if not (folder / "scores.json").is_file():
                logging.info("seed %d, %s", seed, name)
                write_json(scores(train(seed, overrides, folder)), folder / "scores.json")
            report()


def report_overlaps() -> None:
    """Sums of annotations differ from unions only where annotations of one expression overlap: counted."""
    for name in ("synthetic/train", SPLIT):
        split = open_split(config_of(0, ()), name)
        several = [item for items in split.expressions.values() for item in items if len(item.annotation_ids) > 1]
        pixels = sum(pixels_in_two_annotations(split, item) for item in several)
        print(f"{name}: {len(several)} expressions with several annotations, {pixels} pixels in two of them")


def pixels_in_two_annotations(split: StagedSplit, expression: Expression) -> int:
    frames = range(split.videos[expression.video_id].num_frames)
    return int((summed_target(split, expression, frames) != union_target(split, expression, frames)).sum())


def config_of(seed: int, overrides: Sequence[str]) -> Config:
    """The parameters of `params.yaml` with a short clip phase, in one process."""
    phases = parse_config(_plain(edited(PARAMS, [])), PARAMS).train
    early = phases.steps_before_clip + 1  # nobody labels with it
    changed = [
        f"seed={seed}", f"train.clip.steps={CLIP_STEPS}", f"train.early_stop_step={early}",
        f"pseudolabel.checkpoint=models/glus/step-{early:06d}", "compute.processes=1", "compute.workers=0", *overrides,
    ]  # fmt: skip
    return parse_config(_plain(edited(PARAMS, changed)), PARAMS)


def _plain(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def train(seed: int, overrides: Sequence[str], folder: Path) -> GLUS:
    """The clip phase of one variant, from the image and tracking phase that it shares with others."""
    start = [item for item in overrides if item.startswith(DECIDES_THE_START)]
    shared = WORK / f"seed-{seed}" / "-".join(["start", *start])
    first = config_of(seed, start)
    with open_engine(first.compute) as engine:
        _, trainer = build_trainer(first, shared, engine, Hooks(), Curves())
        trainer.phases = trainer.phases[:-1]
        trainer.run()
    if not (folder / "checkpoints").is_dir():
        aside = folder / ".copied"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(shared / "checkpoints", aside)
        aside.rename(folder / "checkpoints")
    config = config_of(seed, overrides)
    with open_engine(config.compute) as engine:
        model, trainer = build_trainer(config, folder, engine, Hooks(), Curves())
        trainer.run()
    return model.eval()


def scores(model: GLUS) -> dict[str, float]:
    """The columns of the table, percent."""
    config = config_of(0, ())
    split = open_split(config, SPLIT)
    found = [(video, score) for video in split.videos.values() for score in score_ways(model, split, video)]

    def grey(video: Video, j: Iterable[float]) -> float:
        return float(np.asarray(j)[list(video.ambiguous_frames)].mean())

    def of(family: str) -> list[tuple[Video, ExpressionScore]]:
        return [(video, score) for video, score in found if score.family == family]

    appearance, greyed, starts_grey = of("appearance"), of("greyed"), of("starts_grey")
    values = (
        [score.mean_j for _, score in appearance],
        [score.referent_correct for _, score in appearance if score.referent_correct is not None],
        [grey(video, score.j) for video, score in greyed],
        [grey(video, score.comparisons["memory off"]) for video, score in greyed],
        [grey(video, score.j) for video, score in starts_grey],
        [grey(video, score.comparisons["key"]) for video, score in starts_grey],
        [grey(video, score.comparisons["near the end"]) for video, score in starts_grey],
        [np.mean(score.comparisons["middle"]) for _, score in appearance],
        [np.mean(score.comparisons["middle, published names"]) for _, score in appearance],
        [np.mean(score.comparisons["key"]) for _, score in starts_grey],
        [np.mean(score.comparisons["key, published names"]) for _, score in starts_grey],
    )
    return {name: 100 * float(np.mean(column)) for name, column in zip(COLUMNS, values, strict=True)}


def score_ways(model: GLUS, split: StagedSplit, video: Video) -> list[ExpressionScore]:
    """Scores of a video's expressions from the first frame; J in the other ways that the table shows."""
    frames = staged_frames(split, video)
    coloured = [index for index in range(video.num_frames) if index not in video.ambiguous_frames]
    expressions = split.expressions[video.video_id]

    def tracks(families: set[str], anchor: int, *, use_memory: bool = True, renamed: bool = False):
        chosen = [item for item in expressions if item.family in families]
        if not chosen:
            return {}
        texts = [item.text for item in chosen]
        masks = segment_video(model, frames, texts, key_frame=anchor, use_memory=use_memory).masks
        sources = published_sources(video.num_frames, anchor) if renamed else range(video.num_frames)
        return {item.expression_id: track(masks[row], sources) for row, item in enumerate(chosen)}

    shown = {"appearance", "greyed", "starts_grey"}
    middle = video.num_frames // 2
    task = VideoTask(
        split.dataset,
        split.split,
        video,
        wanted(expressions, shown),
        split.mask_rles(video.video_id),
        tracks(shown, 0),
        {
            "memory off": tracks({"greyed"}, 0, use_memory=False),
            "key": tracks({"starts_grey"}, coloured[0]),
            "key, published names": tracks({"starts_grey"}, coloured[0], renamed=True),
            "near the end": tracks({"starts_grey"}, coloured[-1]),
            "middle": tracks({"appearance"}, middle),
            "middle, published names": tracks({"appearance"}, middle, renamed=True),
        },
    )
    return score_video(task, bound_th=0.008, seed=0)


def wanted(expressions: Iterable[Expression], families: set[str]) -> tuple[Expression, ...]:
    return tuple(item for item in expressions if item.family in families)


def track(masks: np.ndarray, sources: Sequence[int | None]) -> dict[int, str]:
    """Run lengths of masks, bool [T, H, W], each taken from another frame; left out where there is none."""
    return {frame: encode_rle(masks[source]) for frame, source in enumerate(sources) if source is not None}


def report() -> None:
    """Prints the table of all results so far."""
    print("| seed | | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (len(COLUMNS) + 2))
    for file in sorted(WORK.glob("seed-*/*/scores.json")):
        values = json.loads(file.read_text(encoding="utf-8"))
        cells = " | ".join(f"{values[name]:.1f}" for name in COLUMNS)
        print(f"| {file.parts[-3].removeprefix('seed-')} | {file.parts[-2].replace('_', ' ')} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
