"""Step 7, paper 5.1: J, F and J&F of the predicted masks, trivial baselines beside them, and the report."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glus.manifest import write_json
from glus.metrics.predictions import Predictions, Tracks, expressions_by_key, read_predictions
from glus.metrics.protocols import NO_GROUND_TRUTH, average, grey_frame_comparisons, protocol_of
from glus.metrics.scoring import ExpressionScore, Track, VideoTask, score_video
from glus.parallel import map_in_processes
from glus.pipeline.artifacts import open_split
from glus.pipeline.context import StepContext
from glus.records import StagedSplit, write_table
from glus.reporting.gallery import Gallery
from glus.reporting.page import SplitSection, write_page

METRICS, FAMILIES, REPORTS = Path("metrics/evaluate.json"), Path("metrics/evaluate_families.csv"), Path("reports")


def run(context: StepContext) -> None:
    """Scores every split of `data.evaluation`; one without ground truth is reported as predicted only.

    Raises:
        ArtifactError: a table is missing, or holds a mask twice or of another size than its video.
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
    context.publish_file(context.work / "families.csv", FAMILIES)
    context.publish_file(context.work / "evaluate.json", METRICS)


def _evaluate_split(context: StepContext, split: StagedSplit, folder: Path) -> SplitSection:
    name, num_examples = f"{split.dataset}/{split.split}", context.config.evaluate.num_examples
    predictions = read_predictions(split)
    gallery = Gallery(split, predictions, folder / "overlays")
    if not split.has_masks:
        unscored = {"protocol": NO_GROUND_TRUTH, "num_expressions": len(expressions_by_key(split))}
        return SplitSection(name, unscored, [], gallery.unscored_examples(num_examples))
    scores = _score_split(context, split, predictions)
    metrics = average(protocol_of(split.dataset), split.dataset, split.split, scores)
    if comparisons := grey_frame_comparisons(scores, split.videos):
        metrics["comparisons"] = comparisons
    _write_per_expression(split, scores, predictions, folder / "per_expression.parquet")
    _write_frames(scores, predictions, folder / "frames.csv")
    return SplitSection(name, metrics, gallery.comparisons(scores), gallery.examples(scores, num_examples))


def _score_split(context: StepContext, split: StagedSplit, predictions: Predictions) -> list[ExpressionScore]:
    """Scores video by video; each finished one is a file below `work`, where a second start finds it."""
    folder = context.work / "scores" / split.dataset / split.split
    pieces = {video_id: folder / f"{number:06d}.json" for number, video_id in enumerate(split.videos)}
    waiting = [video_id for video_id, piece in pieces.items() if not piece.is_file()]
    build = partial(partial, score_video, bound_th=context.config.evaluate.boundary, seed=context.config.evaluate.seed)
    tasks = (_task(split, video_id, predictions) for video_id in waiting)
    finished = map_in_processes(build, tasks, min(context.config.compute.processes, len(waiting)))
    progress = context.progress(
        zip(waiting, finished, strict=True),
        f"videos of {split.dataset}/{split.split}",
        total=len(pieces),
        done=len(pieces) - len(waiting),
    )
    for video_id, scores in progress:
        write_json([asdict(score) for score in scores], pieces[video_id])
    return [ExpressionScore(**entry) for piece in pieces.values() for entry in json.loads(piece.read_text("utf-8"))]


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


def _write_per_expression(
    split: StagedSplit, scores: Sequence[ExpressionScore], predictions: Predictions, path: Path
) -> None:
    rows = (
        {
            "dataset": split.dataset,
            "split": split.split,
            "video_id": score.video_id,
            "expression_id": score.expression_id,
            "family": score.family,
            "j": score.mean_j,
            "f": score.mean_f,
            "jf": score.jf,
            "num_frames": len(score.j),
            "key_frame_index": predictions.key_frames.get((score.video_id, score.expression_id)),
            "oracle_key_frame_index": int(np.argmax(score.j)),
            "referent_correct": score.referent_correct,
        }
        for score in scores
    )
    write_table("per_expression", rows, path)


def _write_frames(scores: Sequence[ExpressionScore], predictions: Predictions, path: Path) -> None:
    """J, F and the selector's score of every frame: the curves behind the report."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video_id", "expression_id", "frame_index", "j", "f", "frame_score"])
        for score in scores:
            frame_scores = predictions.frame_scores.get((score.video_id, score.expression_id))
            for index, (j, f) in enumerate(zip(score.j, score.f, strict=True)):
                writer.writerow(
                    [score.video_id, score.expression_id, index, j, f, frame_scores[index] if frame_scores else ""]
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
