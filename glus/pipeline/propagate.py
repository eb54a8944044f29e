"""Step 6, paper 4.1, 4.4, B.3: masks of every evaluation split, both ways from the key frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from glus.config import Config
from glus.data.frames import read_frame
from glus.errors import ArtifactError
from glus.inference.engine import PropagationSettings, VideoEncoder
from glus.inference.published_names import published_sources
from glus.inference.video import SegmentationResult, propagate
from glus.manifest import write_manifest
from glus.masks import encode_rle
from glus.model.device import resolve_device
from glus.model.glus import GLUS
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.records import Expression, StagedSplit, Video, read_table, write_table

MODEL = Path("models/glus/final")
KEY_FRAMES = Path("data/keyframes")
PREDICTIONS = Path("predictions")
MASKS, DONE = "masks.parquet", "done"  # of one video and variant; of one video, written last


@dataclass(frozen=True)
class Variant:
    """One way to segment a split.

    Attributes:
        folder: where its masks go, below the split's folder ("." is the main one).
        families: families of expressions that are segmented this way; None: all.
        settings: memory and decoder.
        from_key_frames: start from the key frames; otherwise from the first frame.
        published_frame_names: store masks under the frames that the published script names.
    """

    folder: str
    families: frozenset[str] | None
    settings: PropagationSettings
    from_key_frames: bool = True
    published_frame_names: bool = False

    def wants(self, expression: Expression) -> bool:
        """Whether an expression is segmented this way."""
        return self.families is None or expression.family in self.families


def run(context: StepContext) -> None:
    """Segments every evaluation split, one video at a time, with its comparisons."""
    config = context.config
    target = context.work / "predictions"
    for name in config.data.evaluation:
        parts = context.work / "parts" / name
        markers = [_part_folder(parts, number) / DONE for number in range(len(open_split(config, name).videos))]
        context.finish_pieces(partial(_Segmenter, config, name, parts), markers, f"{name}: videos segmented")
        for folder in {mask.parent.relative_to(part) for part in parts.iterdir() for mask in part.rglob(MASKS)}:
            _merge(parts, folder, target / name / folder)
        write_manifest(
            target / name,
            step="propagate",
            parameters=config.parameters(context.step.parameters),
            inputs=context.inputs,
        )
    context.publish_directory(target, PREDICTIONS)


def _part_folder(parts: Path, number: int) -> Path:
    return parts / f"{number:06d}"


class _Segmenter:
    """The final model in one process: number of a video -> its masks, in every way that is asked for, as files."""

    def __init__(self, config: Config, split: str, parts: Path) -> None:
        torch.set_num_threads(config.compute.threads)
        self._parts = parts
        self._split = open_split(config, split)
        self._videos = list(self._split.videos.values())
        self._key_frames = load_key_frames(KEY_FRAMES / f"{split}.parquet")
        self._model = GLUS.from_pretrained(MODEL, dtype=config.compute.precision, device=resolve_device(config.compute))
        self._variants = _variants(config, self._model.settings.dynamic_multimask)

    def __call__(self, number: int) -> None:
        part, video = _part_folder(self._parts, number), self._videos[number]
        _segment_into(part, self._model, self._split, video, self._key_frames, self._variants)


def _variants(config: Config, dynamic_multimask: bool) -> list[Variant]:
    section = config.propagate
    settings = PropagationSettings(
        use_memory=section.use_memory,
        memory_stride=section.memory_stride,
        dynamic_multimask=dynamic_multimask,
        max_strided=config.model.memory.max_strided,
    )
    variants = [Variant(".", None, settings, published_frame_names=section.published_frame_names)]
    if section.comparisons.memory_off:
        off = replace(settings, use_memory=False)
        variants.append(Variant("comparisons/memory_off", frozenset(section.comparisons.memory_off), off))
    if section.comparisons.first_frame:
        families = frozenset(section.comparisons.first_frame)
        variants.append(Variant("comparisons/first_frame", families, settings, from_key_frames=False))
    return variants


def load_key_frames(path: Path) -> dict[tuple[str, str], int]:
    """The key frame of each (video, expression) of a split.

    Raises:
        ArtifactError: the table is missing or is not one of key frames.
    """
    rows = read_table("keyframes", path, ["video_id", "expression_id", "frame_index", "is_key_frame"]).to_pylist()
    return {(row["video_id"], row["expression_id"]): row["frame_index"] for row in rows if row["is_key_frame"]}


def _segment_into(
    part: Path,
    model: GLUS,
    split: StagedSplit,
    video: Video,
    key_frames: dict[tuple[str, str], int],
    variants: Sequence[Variant],
) -> None:
    """Segments one video in every way that is asked for; the marker comes last."""
    frames = [read_frame(split.frame_path(video, index)) for index in range(video.num_frames)]
    encoder = VideoEncoder(model, frames)
    for variant in variants:
        expressions = [item for item in split.expressions[video.video_id] if variant.wants(item)]
        if not expressions:
            continue
        anchors = [_anchor(split, item, key_frames) if variant.from_key_frames else 0 for item in expressions]
        texts = [item.text for item in expressions]
        result = propagate(encoder, texts, anchors, variant.settings, size=frames[0].size)
        write_table("predictions", prediction_rows(split, expressions, result, variant), part / variant.folder / MASKS)
    part.mkdir(parents=True, exist_ok=True)
    (part / DONE).touch()


def _anchor(split: StagedSplit, expression: Expression, key_frames: dict[tuple[str, str], int]) -> int:
    key = (expression.video_id, expression.expression_id)
    if key not in key_frames:
        raise ArtifactError(
            f"{KEY_FRAMES}/{split.dataset}/{split.split}.parquet has no key frame for video {key[0]},"
            f" expression {key[1]}; run `glus keyframes` again."
        )
    return key_frames[key]


def prediction_rows(
    split: StagedSplit, expressions: Sequence[Expression], result: SegmentationResult, variant: Variant
) -> Iterable[dict[str, Any]]:
    """Rows of the table of predictions, one for each expression and frame."""
    num_frames, height, width = result.masks.shape[1:]
    blank = np.zeros((height, width), dtype=bool)
    for number, expression in enumerate(expressions):
        sources: Sequence[int | None] = range(num_frames)
        if variant.published_frame_names:
            sources = published_sources(num_frames, int(result.key_frame_index[number]))
        for index, source in enumerate(sources):
            yield {
                "dataset": split.dataset,
                "split": split.split,
                "video_id": expression.video_id,
                "expression_id": expression.expression_id,
                "frame_index": index,
                "height_px": height,
                "width_px": width,
                "rle_counts": encode_rle(blank if source is None else result.masks[number, source]),
                "seg_token_generated": source is not None and bool(result.seg_token_generated[number, source]),
            }


def _merge(parts: Path, variant: Path, target: Path) -> None:
    """One table of all videos, in the order of the split."""
    files = sorted(part / variant / MASKS for part in parts.iterdir())
    tables = [read_table("predictions", file) for file in files if file.is_file()]
    write_table("predictions", pa.concat_tables(tables), target / "predictions.parquet")
