"""Step 5, paper B.4: a score for every frame and expression; the key frame is the best one, ties to the earliest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glus.data.frames import read_frame
from glus.errors import InputError
from glus.model.device import resolve_device
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.records import Expression, StagedSplit, Video, read_table, write_table
from glus.selector.model import KeyFrameSelector
from glus.selector.validation import select_key_frame

SELECTOR, KEYFRAMES = Path("models/selector"), Path("data/keyframes")
SHARD_VIDEOS = 25  # videos committed at once, the unit of resuming

Scorer = Callable[[StagedSplit, Video, Sequence[Expression]], np.ndarray]


def run(context: StepContext) -> None:
    """Scores the evaluation splits, shard by shard; shards of an interrupted run are kept.

    Raises:
        InputError: a score is not finite, or the selector does not fit its vocabulary.
    """
    config = context.config
    torch.set_num_threads(config.compute.threads)
    score = _first_frame_scores if config.keyframes.source == "first_frame" else _selector_scores(context)
    result = context.work / "keyframes"
    for name in config.data.evaluation:
        split = open_split(config, name)
        shards = _write_shards(context, split, score, context.work / "shards" / name)
        rows = [row for shard in shards for row in read_table("keyframes", shard).to_pylist()]
        write_table("keyframes", rows, result / f"{name}.parquet")
    context.publish_directory(result, KEYFRAMES)


def _write_shards(context: StepContext, split: StagedSplit, score: Scorer, directory: Path) -> list[Path]:
    """Scores the videos of a split that no shard holds yet; returns all shards in the order of the videos."""
    videos = list(split.videos.values())
    shards = {
        directory / f"{number:05d}.parquet": videos[first : first + SHARD_VIDEOS]
        for number, first in enumerate(range(0, len(videos), SHARD_VIDEOS))
    }
    missing = [path for path in shards if not path.is_file()]
    done = sum(len(members) for path, members in shards.items() if path not in missing)
    tasks = [(path, video) for path in missing for video in shards[path]]
    rows: list[dict[str, Any]] = []
    for path, video in context.progress(tasks, f"{split.dataset}/{split.split}", done=done):
        rows.extend(_score_video(split, video, score))
        if video is shards[path][-1]:
            write_table("keyframes", rows, path)
            rows = []
    return list(shards)


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


def _selector_scores(context: StepContext) -> Scorer:
    config = context.config
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
