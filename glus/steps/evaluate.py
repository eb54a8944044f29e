"""Step 7, paper 5.1: J, F and J&F of the predicted masks, trivial baselines beside them, and the report."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glus.evaluation.predictions import Predictions, Tracks, expressions_by_key, read_anchors, read_predictions
from glus.execution.processes import map_in_processes
from glus.files import write_json
from glus.metrics.failures import FrameFailures, failure_split, find_failures
from glus.metrics.key_frames import key_frame_regret
from glus.metrics.protocols import NO_GROUND_TRUTH, average, grey_frame_comparisons, protocol_of
from glus.metrics.scoring import ExpressionScore, Track, VideoTask, score_video
from glus.paths import EVALUATION_METRICS, FAMILY_METRICS, REPORTS
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.records.split import StagedSplit
from glus.reporting.charts import draw_charts, write_charts
from glus.reporting.gallery import Gallery
from glus.reporting.page import SplitSection, write_page
from glus.reporting.tables import write_tables

if TYPE_CHECKING:
    from glus.config import Config


def run(context: StepContext) -> None:
    """Scores every split of `data.evaluation` and reports it; one without ground truth as predicted only.

    Raises:
        ArtifactError: a table is missing, or holds a mask twice, one of another size than its video, or a start that
            its video does not have.
        InputError: predictions are incomplete or broken; names them.
    """
    reports = context.work / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    metrics: dict[str, dict[str, Any]] = {}
    sections = []
    for name in context.config.data.evaluation:
        split = open_split(context.config, name)
        section = _evaluate_split(context, split, reports / name)
        metrics.setdefault(split.dataset, {})[split.split] = section.metrics
        sections.append(section)
    write_page(sections, reports / "index.html")
    write_json(metrics, context.work / "evaluate.json")
    _write_families(metrics, context.work / "families.csv")
    context.publish_directory(reports, REPORTS)
    context.publish_file(context.work / "families.csv", FAMILY_METRICS)
    context.publish_file(context.work / "evaluate.json", EVALUATION_METRICS)


def _evaluate_split(context: StepContext, split: StagedSplit, folder: Path) -> SplitSection:
    name, num_examples = f"{split.dataset}/{split.split}", context.config.evaluate.num_examples
    predictions, anchors = read_predictions(split), read_anchors(split)
    if not split.has_masks:
        unscored = {"protocol": NO_GROUND_TRUTH, "num_expressions": len(expressions_by_key(split))}
        gallery = Gallery(split, predictions, {}, folder / "overlays")
        return SplitSection(name, unscored, {}, [], gallery.unscored_examples(num_examples))
    scores, failures = _score_split(context, split, predictions)
    metrics = _metrics(context.config, split, scores, failures)
    write_tables(split, scores, failures, predictions, anchors, folder)
    charts = draw_charts(scores, metrics)
    write_charts(charts, folder / "charts")
    by_key = {(score.video_id, score.expression_id): of for score, of in zip(scores, failures, strict=True)}
    gallery = Gallery(split, predictions, by_key, folder / "overlays")
    return SplitSection(name, metrics, charts, gallery.comparisons(scores), gallery.examples(scores, num_examples))


def _metrics(
    config: Config, split: StagedSplit, scores: Sequence[ExpressionScore], failures: Sequence[FrameFailures]
) -> dict[str, Any]:
    bounds = config.evaluate.failures.model_dump()
    metrics = {
        **average(protocol_of(split.dataset), split.dataset, split.split, scores),
        "failures": failure_split(scores, failures) | bounds,
    }
    if comparisons := grey_frame_comparisons(scores, split.videos):
        metrics["comparisons"] = comparisons
    if regret := key_frame_regret(scores):
        metrics["key_frame_regret"] = regret
    return metrics


def _score_split(
    context: StepContext, split: StagedSplit, predictions: Predictions
) -> tuple[list[ExpressionScore], list[FrameFailures]]:
    """Scores video by video; each finished one is a file below `work`, where a second start finds it."""
    folder = context.work / "scores" / split.dataset / split.split
    pieces = {video_id: folder / f"{number:06d}.json" for number, video_id in enumerate(split.videos)}
    waiting = [video_id for video_id, piece in pieces.items() if not piece.is_file()]
    section = context.config.evaluate
    build = partial(partial, _judge, bound_th=section.boundary, seed=section.seed, **section.failures.model_dump())
    tasks = (_task(split, video_id, predictions) for video_id in waiting)
    finished = map_in_processes(build, tasks, min(context.config.compute.processes, len(waiting)))
    progress = context.progress(
        zip(waiting, finished, strict=True),
        f"videos of {split.dataset}/{split.split}",
        total=len(pieces),
        done=len(pieces) - len(waiting),
    )
    for video_id, judged in progress:
        write_json(judged, pieces[video_id])
    entries = [entry for piece in pieces.values() for entry in json.loads(piece.read_text("utf-8"))]
    scores = [ExpressionScore(**entry["score"]) for entry in entries]
    return scores, [FrameFailures.from_plain(entry["failures"]) for entry in entries]


def _judge(task: VideoTask, *, bound_th: float, seed: int, found: float, fits: float) -> list[dict[str, Any]]:
    """Scores and failures of one video's expressions, as plain data."""
    scores = score_video(task, bound_th=bound_th, seed=seed)
    failures = find_failures(task, scores, found=found, fits=fits)
    return [{"score": asdict(score), "failures": asdict(of)} for score, of in zip(scores, failures, strict=True)]


def _task(split: StagedSplit, video_id: str, predictions: Predictions) -> VideoTask:
    def of_video(tracks: Tracks) -> dict[str, Track]:
        names = (expression.expression_id for expression in split.expressions[video_id])
        return {name: tracks[video_id, name] for name in names if (video_id, name) in tracks}

    return VideoTask(
        dataset=split.dataset,
        split=split.split,
        video=split.videos[video_id],
        expressions=tuple(split.expressions[video_id]),
        truth=split.mask_rles(video_id),
        predictions=of_video(predictions.tracks),
        comparisons={name: of_video(tracks) for name, tracks in predictions.comparisons.items()},
    )


def _write_families(metrics: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "family", "J", "F", "JF"])
        for dataset, splits in metrics.items():
            for split, values in splits.items():
                everything = {"all": values} if "JF" in values else {}
                for family, of_family in {**values.get("families", {}), **everything}.items():
                    writer.writerow([f"{dataset}/{split}", family, *(of_family[name] for name in ("J", "F", "JF"))])
