"""A split of own videos segmented by the model before and after fine-tuning, as two runs that can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from glus.errors import InputError
from glus.evaluation.answers import PARQUET
from glus.evaluation.comparison import ComparedSplit, Runs, compare_runs
from glus.evaluation.truth import open_ground_truth
from glus.files import hash_json
from glus.publishing import publish
from glus.records.split import StagedSplit
from glus.records.tables import read_table, write_table
from glus.reporting.comparison import write_comparison
from glus.segmenting.jobs import Job
from glus.segmenting.outputs import MASKS
from glus.segmenting.requests import SegmentRequest
from glus.segmenting.run import run_jobs

BEFORE, AFTER, PAGE = "before", "after", "index.html"
MOST_PICTURED = 40


def segment_split(staged: Path, split: str, models: dict[str, Path], output: Path) -> Iterator[str]:
    """Segments each video from its first frame with each model; yields what to say. Resumes as `glus segment` does.

    Args:
        staged: folder of staged data, whose split `own/<split>` is segmented.
        models: folder within the output -> model.

    Raises:
        InputError: the split is not staged or has no masks; or as `run_jobs`.
    """
    truth = open_ground_truth("own", staged, split, 1, ())
    if not isinstance(truth, StagedSplit):
        raise InputError(f"{staged} holds no staged split own/{split}. Run `glus stage` first.")
    for name, model in models.items():
        jobs = {
            video_id: Job(
                truth.frame_path(video, 0).parent,
                tuple(dict.fromkeys(item.text for item in truth.expressions[video_id])),
                output / name / hash_json(video_id)[:12],
            )
            for video_id, video in truth.videos.items()
        }
        yield from run_jobs(list(jobs.values()), SegmentRequest(model=model))
        _write_predictions(truth, jobs, output / name / "own" / split / PARQUET)


def _write_predictions(truth: StagedSplit, jobs: dict[str, Job], path: Path) -> None:
    """The tables of masks of all videos as one of predictions."""
    rows = []
    for video_id, job in jobs.items():
        ids: dict[str, list[str]] = {}
        for item in truth.expressions[video_id]:
            ids.setdefault(item.text, []).append(item.expression_id)
        for row in read_table("segmented", job.output / MASKS).to_pylist():
            kept = {
                key: row[key] for key in ("frame_index", "height_px", "width_px", "rle_counts", "seg_token_generated")
            }
            names = {"dataset": truth.dataset, "split": truth.split, "video_id": video_id, "mean_logit": None}
            rows += [{**names, "expression_id": number, **kept} for number in ids[row["sentence"]]]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table("predictions", rows, path)


def compare_before_after(staged: Path, split: str, output: Path, names: tuple[str, str]) -> ComparedSplit:
    """Scores both and writes the page with a strip of frames for each sentence, the largest gain first.

    Args:
        names: of the model before and after.

    Raises:
        InputError: masks or ground truth cannot be used.
    """
    runs = Runs((output / BEFORE, output / AFTER), staged, ("own", split), processes=1, links=(), seed=0)
    splits, alone = compare_runs(runs)
    page = output / f".{PAGE}"
    write_comparison(
        splits,
        alone,
        names,
        page,
        heading="Before (A) and after (B)",
        pictured=lambda of: of.pairs[::-1][:MOST_PICTURED],
    )
    publish(page, output / PAGE)
    page.unlink()
    return splits[0]
