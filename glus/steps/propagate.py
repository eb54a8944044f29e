"""Step 6, paper 4.1, 4.4, B.3: masks of every evaluation split, bidirectional from the key frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from glus.config import Config, PropagateConfig
from glus.errors import ArtifactError
from glus.execution.devices import resolve_device
from glus.inference.cutie import load_cutie
from glus.inference.passes import PropagationSettings, Tracking
from glus.inference.published_names import published_sources
from glus.inference.session import VideoSession
from glus.inference.tracking import Sam2Tracker
from glus.manifest import read_manifest, write_manifest
from glus.masks import encode_rle, mean_logit
from glus.model.glus import GlusModel
from glus.paths import FINAL_MODEL, KEY_FRAMES, MODELS, PREDICTIONS, key_frame_table
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.pipeline.pieces import finish_pieces
from glus.processing.staged_frames import staged_frames
from glus.records.split import StagedSplit
from glus.records.tables import TableWriter, read_table, write_table
from glus.records.video import Expression, Video
from glus.weights.loading import load_model

SELECTED = "selected"  # the source of the key frames of the main way
EVERYTHING = "all"  # in `propagate.comparisons`, beside names of families


@dataclass(frozen=True)
class Way:
    """One way to segment a split.

    Attributes:
        folder: where its masks go, below the split's folder ("." is the main one).
        families: families of expressions that are segmented this way; None: all.
        settings: memory and decoder.
        key_frames: the key frame of each expression, by video and expression.
        source: what chose the key frames, see `glus.steps.keyframes`.
        published_frame_names: store masks under the frames that the published script names.
    """

    folder: str
    families: frozenset[str] | None
    settings: PropagationSettings
    key_frames: Mapping[tuple[str, str], int]
    source: str
    published_frame_names: bool = False

    def wants(self, expression: Expression) -> bool:
        """Whether an expression is segmented this way."""
        return self.families is None or expression.family in self.families


def run(context: StepContext) -> None:
    """Segments every evaluation split, one video at a time, with its comparisons."""
    config = context.config
    target = context.work / "predictions"
    for name in config.data.evaluation:
        split = open_split(config, name)
        pieces = finish_pieces(context, name, split, partial(_Segmenter, config, name, FINAL_MODEL), _read_piece)
        _merge(pieces, split, target / name)
        for model in _earlier_models(config):
            build = partial(_Segmenter, config, name, model)
            pieces = finish_pieces(context, f"{model.name}/{name}", split, build, _read_piece)
            _merge(pieces, split, target / name)
        variants = _variants(config, name, FINAL_MODEL, PropagationSettings())
        write_table("anchors", _key_frame_rows(split, variants), target / name / "anchors.parquet")
        write_manifest(
            target / name,
            step="propagate",
            parameters=config.parameters(context.step.parameters),
            inputs=context.inputs,
            extra={"checkpoint_step": read_manifest(FINAL_MODEL).extra["checkpoint_step"]},
        )
    context.publish_directory(target, PREDICTIONS)


def _earlier_models(config: Config) -> list[Path]:
    """The models that training kept on its way, where they are compared."""
    return sorted(MODELS.glob("step-*")) if config.propagate.comparisons.training_steps else []


class _Segmenter:
    """A model in one process: number of a video -> its masks, in every way that is asked for, a file."""

    def __init__(self, config: Config, split: str, model: Path) -> None:
        torch.set_num_threads(config.compute.threads)
        self._split = open_split(config, split)
        self._videos = list(self._split.videos.values())
        self._model = load_model(model, dtype=config.compute.precision, device=resolve_device(config.compute))
        settings = PropagationSettings.of(config.propagate, config.model.memory, self._model)
        settings = replace(settings, tracker=_tracking(config.propagate, self._model.device))
        self._variants = _variants(config, split, model, settings)

    def __call__(self, number: int, file: Path) -> None:
        _segment_into(file, self._model, self._split, self._videos[number], self._variants)


def _tracking(section: PropagateConfig, device: torch.device) -> Tracking | None:
    """What carries masks on from the key frame; None: GLUS itself."""
    if section.tracker == "cutie":
        assert section.cutie_weights is not None  # glus.config.contradictions
        return load_cutie(Path(section.cutie_weights), device)
    return Sam2Tracker if section.tracker == "sam2" else None


def _variants(config: Config, split: str, model: Path, settings: PropagationSettings) -> list[Way]:
    """The ways of a model; where training kept it on its way, the main one alone.

    Of the final model, the main way comes first, then the comparisons: without memory, from every other source of key
    frames there is, and with windows that answer for several frames.
    """
    selected, section = load_key_frames(key_frame_table(split)), config.propagate.comparisons
    if model != FINAL_MODEL:
        folder = f"comparisons/training_step_{int(model.name.removeprefix('step-'))}"
        return [Way(folder, _families(section.training_steps), settings, selected, SELECTED)]
    variants = [Way(".", None, settings, selected, SELECTED, config.propagate.published_frame_names)]
    if section.memory_off:
        off = replace(settings, use_memory=False)
        variants.append(Way("comparisons/memory_off", _families(section.memory_off), off, selected, SELECTED))
    for table in sorted(KEY_FRAMES.glob(f"comparisons/*/{split}.parquet")) if section.key_frames else ():
        source = table.relative_to(KEY_FRAMES / "comparisons").parts[0]
        families, key_frames = _families(section.key_frames), load_key_frames(table)
        variants.append(Way(f"comparisons/{source}", families, settings, key_frames, source))
    for stride in section.window_strides if section.strided else ():
        strided = replace(settings, window_stride=stride)
        folder = f"comparisons/window_stride_{stride}"
        variants.append(Way(folder, _families(section.strided), strided, selected, SELECTED))
    return variants


def _families(names: Sequence[str]) -> frozenset[str] | None:
    return None if EVERYTHING in names else frozenset(names)


def load_key_frames(path: Path) -> dict[tuple[str, str], int]:
    """The key frame of each (video, expression) of a split.

    Raises:
        ArtifactError: the table is missing, is not one of key frames, or names two for one expression.
    """
    rows = read_table("keyframes", path, ["video_id", "expression_id", "frame_index", "is_key_frame"]).to_pylist()
    chosen = [((row["video_id"], row["expression_id"]), row["frame_index"]) for row in rows if row["is_key_frame"]]
    key_frames = dict(chosen)
    if len(key_frames) < len(chosen):
        video_id, expression_id = next(key for key, count in Counter(key for key, _ in chosen).items() if count > 1)
        raise ArtifactError(
            f"{path}: video {video_id}, expression {expression_id} has two key frames. Run `glus keyframes` again."
        )
    return key_frames


def _segment_into(file: Path, model: GlusModel, split: StagedSplit, video: Video, variants: Sequence[Way]) -> None:
    """Segments one video in every way that is asked for, all in one reading of it.

    What several ways have in common is segmented once.
    """
    session = VideoSession(model, staged_frames(split, video))
    tracks: dict[int, list[StoredTrack]] = {}
    numbers: dict[tuple[str, int, PropagationSettings], int] = {}
    with TableWriter("ways", file) as table:
        for variant in variants:
            for expression in filter(variant.wants, split.expressions[video.video_id]):
                key_frame = _key_frame(split, expression, variant)
                way = expression.text, key_frame, variant.settings
                if way not in numbers:
                    numbers[way] = session.add(expression.text, key_frame=key_frame, settings=variant.settings)
                names = frame_names(video.num_frames, key_frame, published=variant.published_frame_names)
                track = StoredTrack(table, split, video, expression, variant.folder, names)
                tracks.setdefault(numbers[way], []).append(track)
        for frame in session:
            found = zip(frame.numbers, frame.masks, frame.logits, frame.seg_token_generated, strict=True)
            for number, mask, logits, generated in found:
                run_lengths, surety = encode_rle(mask), mean_logit(logits)
                for track in tracks[number]:
                    track.store(frame.index, run_lengths, bool(generated), surety)


class StoredTrack:
    """The masks of one expression on their way to disk, as run lengths, while they are made.

    Args:
        table: of the ways in which the video is segmented.
        way: this one.
        names: frame -> frames under which its mask is stored; those that are named by none get a blank mask.
    """

    def __init__(
        self,
        table: TableWriter,
        split: StagedSplit,
        video: Video,
        expression: Expression,
        way: str,
        names: Mapping[int, Sequence[int]],
    ) -> None:
        self._table, self._names = table, names
        self._columns = {
            "dataset": split.dataset,
            "split": split.split,
            "video_id": video.video_id,
            "expression_id": expression.expression_id,
            "way": way,
            "height_px": video.height_px,
            "width_px": video.width_px,
        }
        blank = encode_rle(np.zeros((video.height_px, video.width_px), dtype=bool))
        for name in sorted(set(range(video.num_frames)).difference(*names.values())):
            self._add(name, blank, False, None)

    def store(self, frame: int, run_lengths: str, generated: bool, mean_logit: float | None) -> None:
        """The mask of a frame, whether [SEG] was generated, and the mean of its logits above 0."""
        for name in self._names[frame]:
            self._add(name, run_lengths, generated, mean_logit)

    def _add(self, name: int, run_lengths: str, generated: bool, mean_logit: float | None) -> None:
        row = {"frame_index": name, "rle_counts": run_lengths, "seg_token_generated": generated}
        self._table.add(self._columns | row | {"mean_logit": mean_logit})


def frame_names(num_frames: int, key_frame: int, *, published: bool) -> dict[int, list[int]]:
    """For each frame, the frames under which its mask is stored: itself, or those that the published script names."""
    names: dict[int, list[int]] = {frame: [] for frame in range(num_frames)}
    for name, source in enumerate(published_sources(num_frames, key_frame) if published else range(num_frames)):
        if source is not None:
            names[source].append(name)
    return names


def _key_frame(split: StagedSplit, expression: Expression, variant: Way) -> int:
    key = (expression.video_id, expression.expression_id)
    if key not in variant.key_frames:
        raise ArtifactError(
            f"{KEY_FRAMES}: {variant.source} has no key frame for {split.dataset}/{split.split} video {key[0]},"
            f" expression {key[1]}; run `glus keyframes` again."
        )
    return variant.key_frames[key]


def _key_frame_rows(split: StagedSplit, variants: Sequence[Way]) -> Iterable[dict[str, Any]]:
    """The key frame of each expression, once for each source of key frames."""
    for variant in {variant.source: variant for variant in reversed(variants)}.values():
        for expression in (item for items in split.expressions.values() for item in items if variant.wants(item)):
            yield {
                "dataset": split.dataset,
                "split": split.split,
                "video_id": expression.video_id,
                "expression_id": expression.expression_id,
                "source": variant.source,
                "frame_index": _key_frame(split, expression, variant),
            }


def _read_piece(piece: Path) -> pa.Table:
    return read_table("ways", piece)


def _merge(pieces: Sequence[Path], split: StagedSplit, target: Path) -> None:
    """A table for each way, of all videos in the order of the split: expression after expression, frame after frame.

    Each video is a row group, so that it can be read alone.
    """
    writers: dict[str, TableWriter] = {}
    with ExitStack() as stack:
        for piece, expressions in zip(pieces, split.expressions.values(), strict=True):
            rows = _in_order(_read_piece(piece), expressions)
            for way, table in rows.items():
                if way not in writers:
                    file = target / way / "predictions.parquet"
                    writers[way] = stack.enter_context(TableWriter("predictions", file))
                writers[way].write(table)


def _in_order(table: pa.Table, expressions: Sequence[Expression]) -> dict[str, pa.Table]:
    """The rows of each way, sorted."""
    place = {expression.expression_id: number for number, expression in enumerate(expressions)}
    ways: dict[str, list[tuple[int, int, int]]] = {}
    columns = (table[name].to_pylist() for name in ("way", "expression_id", "frame_index"))
    for row, (way, expression_id, frame) in enumerate(zip(*columns, strict=True)):
        ways.setdefault(way, []).append((place[expression_id], frame, row))
    return {way: table.take([row for *_, row in sorted(keys)]) for way, keys in ways.items()}
