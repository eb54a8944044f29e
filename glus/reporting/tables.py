"""The numbers behind the report as files: one row for each expression, frame, bin and moment."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from glus.evaluation.predictions import Predictions
from glus.metrics.failures import Failure, FrameFailures, costliest, lost_by_kind
from glus.metrics.key_frames import SOURCES, compared_jf
from glus.metrics.scoring import ExpressionScore
from glus.records.split import StagedSplit
from glus.records.tables import write_table
from glus.records.video import Key
from glus.reporting.distributions import EDGES, POSITIONS, histograms, time_curves


def write_tables(
    split: StagedSplit,
    scores: Sequence[ExpressionScore],
    failures: Sequence[FrameFailures],
    predictions: Predictions,
    key_frames: Mapping[str, Mapping[Key, int]],
    folder: Path,
) -> None:
    """Writes `per_expression.parquet`, `frames.csv`, `histograms.csv` and `time_curves.csv` of one split.

    Args:
        split: what was scored.
        scores: of every expression.
        failures: of the same expressions.
        predictions: where the key frames and the selector's scores come from.
        key_frames: source -> the frame that each expression was predicted from.
        folder: where the files go.
    """
    oracle = key_frames.get(SOURCES["oracle"], {})
    rows = (
        {
            "dataset": split.dataset,
            "split": split.split,
            "key_frame_index": predictions.key_frames.get(score.key),
            "oracle_key_frame_index": oracle.get(score.key),
            **_expression_row(score, of_frames),
        }
        for score, of_frames in zip(scores, failures, strict=True)
    )
    write_table("per_expression", rows, folder / "per_expression.parquet")
    _write_csv(
        folder / "frames.csv",
        ["video_id", "expression_id", "frame_index", "j", "f", "frame_score", "failure"],
        _frame_rows(scores, failures, predictions),
    )
    _write_csv(
        folder / "histograms.csv",
        ["measure", "from", "to", "num_expressions", "num_frames"],
        (
            [histogram.measure, f"{start:.2f}", f"{end:.2f}", *counts]
            for histogram in histograms(scores)
            for start, end, *counts in zip(EDGES[:-1], EDGES[1:], histogram.expressions, histogram.frames, strict=True)
        ),
    )
    _write_csv(
        folder / "time_curves.csv",
        ["family", "position", "j"],
        (
            [family, f"{position:.2f}", j]
            for family, curve in time_curves(scores).items()
            for position, j in zip(POSITIONS, curve.tolist(), strict=True)
        ),
    )


def _expression_row(score: ExpressionScore, failures: FrameFailures) -> dict[str, Any]:
    lost = lost_by_kind(score, failures)
    return {
        **score.row,
        "num_frames": len(score.j),
        "referent_correct": score.referent_correct,
        "num_visible_frames": failures.num_visible,
        "num_missed_frames": failures.num_missed,
        "failure": costliest(lost),
        **{f"lost_{kind}": lost[kind] for kind in Failure},
        **{f"jf_{way}": compared_jf(score, way) if way in score.comparisons else None for way in SOURCES.values()},
    }


def _frame_rows(
    scores: Sequence[ExpressionScore], failures: Sequence[FrameFailures], predictions: Predictions
) -> Iterable[Sequence[Any]]:
    """J, F, the selector's score and the failure of every frame: the curves behind the report."""
    for score, of_frames in zip(scores, failures, strict=True):
        frame_scores = predictions.frame_scores.get(score.key)
        for index, (j, f, kind) in enumerate(zip(score.j, score.f, of_frames.kinds, strict=True)):
            selector_score = frame_scores[index] if frame_scores else ""
            yield score.video_id, score.expression_id, index, j, f, selector_score, kind or ""


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
