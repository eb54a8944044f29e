"""Step 5, paper B.4, Table 5: a score for every frame and expression; the best frame is the key frame."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from glus.config import Config, KeyFrameSourceName
from glus.execution.devices import resolve_device
from glus.keyframes.files import read_key_frames
from glus.keyframes.frame_quality import LabellingModel
from glus.keyframes.sources import (
    KeyFrameSource,
    ListedFrames,
    OracleFrame,
    RandomFrame,
    SelectorScores,
    first_frame,
)
from glus.paths import KEY_FRAMES, SELECTOR, key_frame_table
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.pipeline.pieces import finish_pieces
from glus.records.split import StagedSplit
from glus.records.tables import read_table, write_table
from glus.records.video import Video
from glus.selector.scoring import score_frames
from glus.selector.untuned import yes_log_odds
from glus.training.selector.initial_selector import build_untuned
from glus.training.selector.validation import select_key_frame
from glus.weights.selector_loading import load_selector_model


def run(context: StepContext) -> None:
    """Scores the evaluation splits, video by video; those that an interrupted run has finished are kept.

    Sources to compare with are asked where there is ground truth to compare by; their tables lie below `comparisons/`.

    Raises:
        InputError: a score is not finite, a source does not know a video, or the selector does not fit its vocabulary.
    """
    config, result = context.config, context.work / "keyframes"
    for name in config.data.evaluation:
        split = open_split(config, name)
        _score_split(context, split, config.keyframes.source, key_frame_table(name, result))
        for source in config.keyframes.comparisons if split.has_masks else ():
            _score_split(context, split, source, key_frame_table(name, result / "comparisons" / source))
    context.publish_directory(result, KEY_FRAMES)


def _score_split(context: StepContext, split: StagedSplit, source: KeyFrameSourceName, target: Path) -> None:
    name = f"{split.dataset}/{split.split}"
    build, read = partial(_SplitScorer, context.config, name, source), partial(read_table, "keyframes")
    pieces = finish_pieces(context, f"{name}/{source}", split, build, read)
    write_table("keyframes", pa.concat_tables(map(read, pieces)), target)


class _SplitScorer:
    """A source of scores in one process: number of a video -> its scores, a file."""

    def __init__(self, config: Config, split: str, source: KeyFrameSourceName) -> None:
        torch.set_num_threads(config.compute.threads)
        self._split = open_split(config, split)
        self._videos = list(self._split.videos.values())
        self._score = build_source(source, config, self._split)

    def __call__(self, number: int, file: Path) -> None:
        write_table("keyframes", self._rows(self._videos[number]), file)

    def _rows(self, video: Video) -> list[dict[str, Any]]:
        split, expressions = self._split, self._split.expressions[video.video_id]
        if not expressions:
            return []
        rows: list[dict[str, Any]] = []
        for expression, track in zip(expressions, self._score(split, video, expressions), strict=True):
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


def build_source(name: KeyFrameSourceName, config: Config, split: StagedSplit) -> KeyFrameSource:
    """A source of key frames by its name in `params.yaml`."""
    section, device = config.keyframes, resolve_device(config.compute)
    most, batch = section.max_context_frames, section.batch
    match name:
        case "selector":
            selector = load_selector_model(SELECTOR, dtype=config.compute.precision, device=device)
            return SelectorScores(partial(score_frames, selector, max_context_frames=most, batch=batch))
        case "chat_univi":
            untuned = build_untuned(config.selector.model, config.pseudolabel.checkpoint)
            untuned.to(device, getattr(torch, config.compute.precision)).eval()
            return SelectorScores(partial(yes_log_odds, untuned, max_context_frames=most, batch=batch))
        case "oracle_frame":
            return OracleFrame(LabellingModel(config.pseudolabel, config.model.memory, config.compute))
        case "file":
            path = Path(section.files[f"{split.dataset}/{split.split}"])
            return ListedFrames(read_key_frames(path, split))
        case "random_frame":
            return RandomFrame(config.seed)
        case "first_frame":
            return first_frame
