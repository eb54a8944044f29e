"""Step 7, paper 5.1: J, F and J&F of the predicted masks, trivial baselines beside them, and the report."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glus.errors import ArtifactError
from glus.evaluation.predictions import (
    VideoPredictions,
    expressions_by_key,
    read_predictions,
    read_used_key_frames,
)
from glus.evaluation.results import (
    SHA256,
    FailureSplit,
    PredictedSplit,
    Results,
    ScoredSplit,
    SplitResult,
    write_results,
)
from glus.files import hash_file, hash_json, read_json, to_json, write_json
from glus.manifest import read_manifest
from glus.metrics.boundary import BOUND_TH
from glus.metrics.compared_ways import TRAINING_STEP, WINDOW_STRIDE, score_ways
from glus.metrics.failures import FrameFailures, failure_split, find_failures
from glus.metrics.key_frames import key_frame_regret
from glus.metrics.mean_logit import score_thresholds
from glus.metrics.protocols import average, protocol_of
from glus.metrics.scoring import ExpressionScore, VideoTask, score_video
from glus.paths import EVALUATION_METRICS, FAMILY_METRICS, PREDICTIONS, REPORTS, TRAINING_STEP_METRICS
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.pipeline.pieces import finish_pieces
from glus.records.split import StagedSplit
from glus.records.video import Video
from glus.reporting.charts import draw_charts, write_charts
from glus.reporting.gallery import OVERLAYS, Gallery
from glus.reporting.grey_frames import score_grey_frames
from glus.reporting.page import write_report
from glus.reporting.sections import CHARTS
from glus.reporting.tables import write_tables

if TYPE_CHECKING:
    from glus.config import Config


def run(context: StepContext) -> None:
    """Scores every split of `data.evaluation` and reports it; one without ground truth as predicted only.

    Raises:
        ArtifactError: a table is missing, or holds a mask twice, one of another size than its video, or a key frame
            that its video does not have.
        InputError: predictions are incomplete or broken; names them.
    """
    reports = context.work / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    results: Results = {}
    for name in context.config.data.evaluation:
        split = open_split(context.config, name)
        results.setdefault(split.dataset, {})[split.split] = _evaluate_split(context, split, reports / name)
    write_results(results, context.work / "evaluate.json")
    _write_lines(["split", "family", "J", "F", "JF"], _family_lines(results), context.work / "families.csv")
    _write_lines(["split", "step", "JF"], _training_step_lines(results), context.work / "training_steps.csv")
    context.publish_directory(reports, REPORTS, {SHA256: hash_file(context.work / "evaluate.json")})
    context.publish_plain(context.work / "families.csv", FAMILY_METRICS)
    context.publish_plain(context.work / "training_steps.csv", TRAINING_STEP_METRICS)
    context.publish_plain(context.work / "evaluate.json", EVALUATION_METRICS)
    write_report(Path())


def _evaluate_split(context: StepContext, split: StagedSplit, folder: Path) -> SplitResult:
    num_examples = context.config.evaluate.num_examples
    predictions, key_frames = read_predictions(split), read_used_key_frames(split)
    if not split.has_masks:
        Gallery(split, predictions, {}, folder / OVERLAYS).write_all(None, num_examples)
        return PredictedSplit(len(expressions_by_key(split)))
    scores, failures = _score_split(context, split)
    result = _summarise(context.config, split, scores, failures)
    write_tables(split, scores, failures, predictions, key_frames, folder)
    write_charts(draw_charts(scores, result), folder / CHARTS)
    by_key = {score.key: of_frames for score, of_frames in zip(scores, failures, strict=True)}
    Gallery(split, predictions, by_key, folder / OVERLAYS).write_all(scores, num_examples)
    return result


def _summarise(
    config: Config, split: StagedSplit, scores: Sequence[ExpressionScore], failures: Sequence[FrameFailures]
) -> ScoredSplit:
    bounds, boundary = config.evaluate.failures, config.evaluate.boundary
    release = read_manifest(split.directory).extra.get("release", "")
    averaged = average(protocol_of(split.dataset), split.dataset, split.split, scores, release)
    if boundary != BOUND_TH:  # no protocol's numbers any more
        averaged = replace(averaged, protocol=f"{averaged.protocol} with boundary {boundary:g}")
    return ScoredSplit(
        scores=averaged,
        failures=FailureSplit(failure_split(scores, failures), bounds.found, bounds.fits),
        comparisons=score_grey_frames(scores, split.videos),
        key_frame_regret=key_frame_regret(scores),
        window_strides=score_ways(scores, WINDOW_STRIDE),
        training_steps=score_ways(scores, TRAINING_STEP),
        thresholds=score_thresholds(scores),
    )


def _score_split(context: StepContext, split: StagedSplit) -> tuple[list[ExpressionScore], list[FrameFailures]]:
    """Scores video by video; each finished one is a file, where a second start finds it."""
    name = f"{split.dataset}/{split.split}"
    judge = partial(_Judge, context.config, name)
    pieces = finish_pieces(context, name, split, judge, _read_piece, suffix=".json")
    kept = [entry for piece in pieces for entry in _read_piece(piece)]
    scores = [ExpressionScore(**entry["score"]) for entry in kept]
    return scores, [FrameFailures.from_plain(entry["failures"]) for entry in kept]


def _read_piece(piece: Path) -> list[dict[str, Any]]:
    content = read_json(piece)
    expressions: list[dict[str, Any]] = content.get("expressions", [])
    if content.get("sha256") != hash_json(expressions):
        raise ArtifactError(f"{piece}: not what was written there.")
    return expressions


class _Judge:
    """Ground truth and predictions in one process: number of a video -> scores and failures, a file."""

    def __init__(self, config: Config, name: str) -> None:
        self._section = config.evaluate
        self._split = open_split(config, name)
        self._videos = list(self._split.videos.values())
        self._predictions = VideoPredictions(self._split)

    def __call__(self, number: int, file: Path) -> None:
        task, section = self._task(self._videos[number]), self._section
        scores = score_video(task, bound_th=section.boundary, seed=section.seed)
        failures = find_failures(task, scores, **section.failures.model_dump())
        logits = self._predictions.mean_logits(task.video.video_id)
        entries = [
            {
                "score": asdict(replace(score, mean_logit=logits.get(score.expression_id))),
                "failures": asdict(of_frames),
            }
            for score, of_frames in zip(scores, failures, strict=True)
        ]
        written = json.loads(to_json(entries))
        write_json({"sha256": hash_json(written), "expressions": written}, file)

    def _task(self, video: Video) -> VideoTask:
        split = self._split
        return VideoTask(
            dataset=split.dataset,
            split=split.split,
            video=video,
            expressions=tuple(split.expressions[video.video_id]),
            truth=split.mask_rles(video.video_id),
            predictions=self._predictions.tracks(video.video_id),
            comparisons=self._predictions.comparisons(video.video_id),
        )


def _write_lines(names: Sequence[str], lines: Iterable[Sequence[str | float]], path: Path) -> None:
    """A table that DVC can plot."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *lines])


def _family_lines(results: Results) -> Iterator[Sequence[str | float]]:
    """Every family of every scored split, and all its expressions together."""
    for dataset, splits in results.items():
        for split, result in splits.items():
            if isinstance(result, ScoredSplit):
                means = result.scores.means
                for family, scores in {**means.groups, "all": means.overall}.items():
                    yield f"{dataset}/{split}", family, scores.j, scores.f, scores.jf


def _training_step_lines(results: Results) -> Iterator[Sequence[str | float]]:
    """J&F after each number of steps whose model was compared, and of the final model on the same expressions."""
    for dataset, splits in results.items():
        for split, result in splits.items():
            if isinstance(result, ScoredSplit):
                name, found = f"{dataset}/{split}", result.training_steps
                for step, jf in found.overall.ways.items() if found else ():
                    yield name, step, jf
                last = found.overall.main if found else result.scores.means.overall.jf
                yield name, read_manifest(PREDICTIONS / name).extra["checkpoint_step"], last
