"""Step 3, paper 4.4 and B.4: the early-stop model segments a share of the training set; IoU per frame is the label."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from glus.config import Config
from glus.config.learning import FEWEST_LABELLED
from glus.errors import InputError
from glus.keyframes.frame_quality import LabellingModel
from glus.manifest import Manifest, read_manifest
from glus.paths import PSEUDOLABELS
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.pipeline.pieces import finish_pieces
from glus.records.split import StagedSplit
from glus.records.tables import read_table, write_table
from glus.records.video import Video


def run(context: StepContext) -> None:
    """Labels every frame of every expression of the chosen videos; the labels are put together shard by shard.

    Raises:
        InputError: the share leaves too few videos for a selector to be trained and validated on.
    """
    config = context.config
    folder = context.work / "labels"
    labelled = list(_chosen_videos(config))
    num_videos = sum(len(videos) for _, videos, _ in labelled)
    if num_videos < FEWEST_LABELLED:
        raise InputError(
            f"pseudolabel.share: {config.pseudolabel.share} leaves {num_videos} videos of data.train to label, but the"
            f" selector needs {FEWEST_LABELLED}, to be trained and to be validated; raise the share."
        )
    size, read = config.pseudolabel.shard_videos, partial(read_table, "pseudolabels")
    for split, videos, first in labelled:
        name = f"{split.dataset}/{split.split}"
        pieces = finish_pieces(context, name, split, partial(_Labeller, config, name), read, videos=videos)
        for number, start in enumerate(range(0, len(pieces), size), first):
            tables = map(read, pieces[start : start + size])
            write_table("pseudolabels", pa.concat_tables(tables), folder / f"shard-{number:05d}.parquet")
    extra = {"checkpoint_sha256": read_manifest(Path(config.pseudolabel.checkpoint)).extra["weights_sha256"]}
    context.publish_directory(folder, PSEUDOLABELS, extra)


class _Labeller:
    """The early-stop model in one process: number of a labelled video of a split -> its labels, a file."""

    def __init__(self, config: Config, name: str) -> None:
        self._split, self._videos, self._first = next(
            chosen for chosen in _chosen_videos(config) if f"{chosen[0].dataset}/{chosen[0].split}" == name
        )
        self._size = config.pseudolabel.shard_videos
        self._manifest = read_manifest(Path(config.pseudolabel.checkpoint))
        self._model = LabellingModel(config.pseudolabel, config.model.memory, config.compute)

    def __call__(self, number: int, file: Path) -> None:
        shard = self._first + number // self._size
        rows = label_video(self._model, self._split, self._videos[number], self._manifest, shard)
        write_table("pseudolabels", rows, file)


def _chosen_videos(config: Config) -> Iterator[tuple[StagedSplit, list[Video], int]]:
    """Each split, its labelled videos, and the number of its first shard."""
    first = 0
    for entry in config.data.train:
        split = open_split(config, entry.split)
        videos = [video for video in split.videos.values() if is_labelled(split, video, config)]
        yield split, videos, first
        first += math.ceil(len(videos) / config.pseudolabel.shard_videos)


def is_labelled(split: StagedSplit, video: Video, config: Config) -> bool:
    """Whether a video belongs to the labelled share: a seeded hash of its id decides, whatever else is in the set."""
    key = f"{config.seed}/{split.dataset}/{split.split}/{video.video_id}"
    draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
    return draw < config.pseudolabel.share


def label_video(
    model: LabellingModel, split: StagedSplit, video: Video, checkpoint: Manifest, shard: int
) -> list[dict[str, Any]]:
    """Rows of one video: every annotated expression, every frame."""
    expressions = [item for item in split.expressions[video.video_id] if item.annotation_ids]
    if not expressions:
        return []
    quality = model.judge(split, video, expressions)
    return [
        {
            "dataset": split.dataset,
            "split": split.split,
            "video_id": video.video_id,
            "expression_id": expression.expression_id,
            "frame_index": index,
            "frame_name": frame_name,
            "iou": float(quality.iou[number, index]),
            "target_present": bool(quality.target_present[number, index]),
            "predicted_area_px": int(quality.predicted_area_px[number, index]),
            "seg_token_generated": bool(quality.seg_token_generated[number, index]),
            "checkpoint_step": checkpoint.extra["checkpoint_step"],
            "checkpoint_sha256": checkpoint.extra["weights_sha256"],
            "shard": shard,
        }
        for number, expression in enumerate(expressions)
        for index, frame_name in enumerate(video.frame_names)
    ]
