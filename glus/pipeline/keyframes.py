"""Step 5, paper B.4: a score for every frame and expression; the key frame is the best one, ties to the earliest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from glus.config import Config
from glus.data.frames import read_frame
from glus.errors import InputError
from glus.model.device import resolve_device
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.records import Expression, StagedSplit, Video, read_table, write_table
from glus.selector.model import KeyFrameSelector
from glus.selector.validation import select_key_frame

SELECTOR, KEYFRAMES = Path("models/selector"), Path("data/keyframes")
SHARD_VIDEOS = 10  # videos committed at once, the unit of resuming

Scorer = Callable[[StagedSplit, Video, Sequence[Expression]], np.ndarray]


def run(context: StepContext) -> None:
    """Scores the evaluation splits, shard by shard; shards of an interrupted run are kept.

    Raises:
        InputError: a score is not finite, or the selector does not fit its vocabulary.
    """
    config, result = context.config, context.work / "keyframes"
    for name in config.data.evaluation:
        folder = context.work / "shards" / name
        count = math.ceil(len(open_split(config, name).videos) / SHARD_VIDEOS)
        shards = [_shard_file(folder, number) for number in range(count)]
        context.finish_pieces(partial(_ShardScorer, config, name, folder), shards, f"{name}: shards of videos")
        tables = [read_table("keyframes", shard) for shard in shards]
        write_table("keyframes", pa.concat_tables(tables), result / f"{name}.parquet")
    context.publish_directory(result, KEYFRAMES)


def _shard_file(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.parquet"


class _ShardScorer:
    """A source of scores in one process: number of a shard -> its file, written at once."""

    def __init__(self, config: Config, split: str, folder: Path) -> None:
        torch.set_num_threads(config.compute.threads)
        self._folder = folder
        self._split = open_split(config, split)
        self._score = _first_frame_scores if config.keyframes.source == "first_frame" else _selector_scores(config)

    def __call__(self, number: int) -> None:
        videos = list(self._split.videos.values())[number * SHARD_VIDEOS : (number + 1) * SHARD_VIDEOS]
        rows = [row for video in videos for row in _score_video(self._split, video, self._score)]
        write_table("keyframes", rows, _shard_file(self._folder, number))


def _score_video(split: StagedSplit, video: Video, score: Scorer) -> list[dict[str, Any]]:
    expressions = split.expressions[video.video_id]
    if not expressions:
        return []
    rows: list[dict[str, Any]] = []
    for expression, track in zip(expressions, score(split, video, expressions), strict=True):
        wrong = np.flatnonzero(~np.isfinite(track))
        if len(wrong):
            raise InputError(
                f"{SELECTOR}: the score of {split.dataset}/{split.split} video {video.video_id}, expression"
                f" {expression.expression_id}, frame {wrong[0]} is {track[wrong[0]]}; train the selector again."
            )
        key_frame = select_key_frame(track)
        rows.extend(
            {
                "dataset": split.dataset,
                "split": split.split,
                "video_id": video.video_id,
                "expression_id": expression.expression_id,
                "frame_index": index,
                "score": float(value),
                "is_key_frame": index == key_frame,
            }
            for index, value in enumerate(track)
        )
    return rows


def _first_frame_scores(_: StagedSplit, video: Video, expressions: Sequence[Expression]) -> np.ndarray:
    """No selection (Table 5, first row): 1 at the first frame, 0 elsewhere."""
    scores = np.zeros((len(expressions), video.num_frames), dtype=np.float32)
    scores[:, 0] = 1
    return scores


def _selector_scores(config: Config) -> Scorer:
    selector = KeyFrameSelector.from_pretrained(SELECTOR, device=resolve_device(config.compute))

    def score(split: StagedSplit, video: Video, expressions: Sequence[Expression]) -> np.ndarray:
        frames = [read_frame(split.frame_path(video, index)) for index in range(video.num_frames)]
        return selector.score(
            frames,
            [expression.text for expression in expressions],
            max_context_frames=config.keyframes.max_context_frames,
            batch=config.keyframes.batch,
        ).numpy()

    return score
