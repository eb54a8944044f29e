"""`glus compare`: the masks of two runs, scored alike and paired sentence by sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glus.errors import InputError, name_some
from glus.evaluation.answers import PARQUET, Answers, find_answers
from glus.evaluation.folder_scoring import score_answers
from glus.evaluation.truth import PublishedTruth, open_ground_truth
from glus.metrics.pairing import Difference, Pair, break_down, difference
from glus.metrics.scoring import ExpressionScore
from glus.records.split import StagedSplit
from glus.records.video import Expression, Key, Video

PREDICTIONS = "predictions"  # of a project, and what it holds by dataset and split
NUM_WORST = 20


@dataclass(frozen=True)
class ComparedSplit:
    """Two runs on one split.

    Attributes:
        overall: J&F of all sentences that both runs answer in full.
        groups: of parts of them, by breakdown and group.
        pairs: the sentences, what B loses most first.
        unmatched: what one of the runs lacks, in words.
    """

    truth: StagedSplit | PublishedTruth
    answers: tuple[Answers, Answers]
    overall: Difference
    groups: dict[str, dict[str, Difference]]
    pairs: Sequence[Pair]
    unmatched: Sequence[str]

    @property
    def name(self) -> str:
        """E.g. `mevis/valid_u`."""
        return f"{self.truth.dataset}/{self.truth.split}"

    @property
    def worst(self) -> Sequence[Pair]:
        """Where B loses most, at most `NUM_WORST`."""
        return [pair for pair in self.pairs[:NUM_WORST] if pair.gain < 0]

    def to_json(self) -> dict[str, Any]:
        """Plain data: the differences, and of each sentence its scores, 0..1."""
        return {
            **self.overall.to_json(),
            "groups": {
                name: {group: found.to_json() for group, found in groups.items()}
                for name, groups in self.groups.items()
            },
            "unmatched": list(self.unmatched),
            "per_expression": [
                {
                    "video_id": pair.key[0],
                    "expression_id": pair.key[1],
                    "family": pair.a.family,
                    "target_share": pair.target_share,
                    "jf_a": pair.a.jf,
                    "jf_b": pair.b.jf,
                    "gain": pair.gain,
                }
                for pair in self.pairs
            ],
        }


@dataclass(frozen=True)
class Runs:
    """What is compared.

    Attributes:
        folders: of A and B: a project, its `predictions`, or the masks of one split as `glus score` takes them.
        root: where the ground truth is, as for `glus score`.
        split: dataset and split; None compares every split that both runs have.
        seed: of the videos that are drawn for the intervals.
    """

    folders: tuple[Path, Path]
    root: Path
    split: tuple[str, str] | None
    processes: int
    links: tuple[Path, ...]
    seed: int


def compare_runs(runs: Runs) -> tuple[list[ComparedSplit], list[str]]:
    """Compares two runs.

    Returns:
        Each split that both have; those that only one has, in words.

    Raises:
        InputError: they have nothing in common, or masks or ground truth cannot be used; names it.
    """
    if runs.split:
        return [
            _compare(runs, *runs.split, _masks(runs.folders[0], *runs.split), _masks(runs.folders[1], *runs.split))
        ], []
    found_a, found_b = (_splits(folder) for folder in runs.folders)
    common = sorted(found_a.keys() & found_b.keys())
    alone = [
        f"{'/'.join(split)} is only in {folder}"
        for folder, found in zip(runs.folders, (found_a, found_b), strict=True)
        for split in sorted(found.keys() - set(common))
    ]
    if not common:
        said = f" ({'; '.join(alone)})" if alone else ""
        raise InputError(
            f"{runs.folders[0]} and {runs.folders[1]} have no split in common{said}. Name two projects or their folders"
            f" {PREDICTIONS}/, which hold <dataset>/<split>/{PARQUET}, or folders of masks with --dataset and --split."
        )
    return [_compare(runs, *split, found_a[split], found_b[split]) for split in common], alone


def _splits(folder: Path) -> dict[tuple[str, str], Path]:
    """The splits that a project or its predictions hold."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name a project, its {PREDICTIONS}/, or a folder of masks.")
    tables = [path for start in (folder / PREDICTIONS, folder) for path in sorted(start.glob(f"*/*/{PARQUET}"))]
    return {(path.parts[-3], path.parts[-2]): path.parent for path in reversed(tables)}


def _masks(folder: Path, dataset: str, split: str) -> Path:
    """Where a run has its masks of one split."""
    places = (folder / PREDICTIONS / dataset / split, folder / dataset / split)
    return next((place for place in places if place.is_dir()), folder)


def _compare(runs: Runs, dataset: str, split: str, masks_a: Path, masks_b: Path) -> ComparedSplit:
    truth = open_ground_truth(dataset, runs.root, split, runs.processes, runs.links)
    answers = find_answers(masks_a, truth), find_answers(masks_b, truth)
    scores_a, scores_b = (score_answers(truth, found, runs.processes) for found in answers)
    unmatched = [*_missing(runs.folders[0], scores_a), *_missing(runs.folders[1], scores_b)]
    pairs = [
        Pair(a, b, _target_share(a, truth.videos[a.video_id]))
        for a, b in zip(scores_a, scores_b, strict=True)
        if None not in a.predicted_px and None not in b.predicted_px
    ]
    if not pairs:
        raise InputError(
            f"There is no expression of {dataset}/{split} that both runs answer in full: {'; '.join(unmatched)}."
        )
    pairs.sort(key=lambda pair: (pair.gain, pair.key))
    overall = difference(pairs, runs.seed)
    return ComparedSplit(truth, answers, overall, break_down(pairs, runs.seed), pairs, unmatched)


def _missing(folder: Path, scores: Sequence[ExpressionScore]) -> list[str]:
    """What a run does not answer in full, in one phrase."""
    lacking = [score for score in scores if None in score.predicted_px]
    if not lacking:
        return []
    named = name_some([f"video {score.video_id}, expression {score.expression_id}" for score in lacking])
    return [f"{folder} lacks masks of {len(lacking)} of {len(scores)} expressions, which are left out: {named}"]


def _target_share(score: ExpressionScore, video: Video) -> float:
    seen = [px for px in score.target_px if px]
    return sum(seen) / len(seen) / (video.height_px * video.width_px) if seen else 0.0


def expression_of(truth: StagedSplit | PublishedTruth, key: Key) -> Expression:
    """A sentence by its ids."""
    return next(item for item in truth.expressions[key[0]] if item.expression_id == key[1])
