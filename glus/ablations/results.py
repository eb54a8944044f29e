"""Our numbers for the paper's tables: what `glus ablate` has left, and the project's own run of a preset of Table 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from glus.ablations.tables import tables
from glus.config import load_config
from glus.evaluation.results import read_results
from glus.files import read_json
from glus.paths import EVALUATION_METRICS
from glus.pipeline.origin import origin_of
from glus.pipeline.passport import PARAMETERS, PASSPORT, read_passport
from glus.pipeline.tracking import numbers
from glus.reporting.run_facts import Origin

RESULTS = Path("ablations")
PRESETS = {"glus_s": "GLUS-S (ours)", "glus_a": "GLUS-A (ours)"}  # their rows of Tables 2 and 3


@dataclass(frozen=True)
class OwnRun:
    """A run that belongs to a row of a table.

    Attributes:
        table: its number.
        row: its label in the paper, or our own.
        values: numbers of `metrics/evaluate.json` by place, e.g. `mevis/valid_u/JF`, in percent.
        splits: what the file says of each split.
        pretrained: whether it began from given weights, as the paper does, or from nothing.
        origin: what its passport says; None where there is none.
        seconds: wall seconds of the steps that this run computed itself; None where no record of them is left.
    """

    table: str
    row: str
    seed: int
    values: Mapping[str, float]
    splits: Mapping[str, Mapping[str, Any]]
    pretrained: bool
    origin: Origin | None
    seconds: float | None


@dataclass(frozen=True)
class Spread:
    """A number over seeds: mean and sample standard deviation, which one seed alone does not have."""

    mean: float
    sd: float | None
    seeds: tuple[int, ...]

    @classmethod
    def over(cls, runs: Sequence[OwnRun], place: str) -> Spread:
        """Of the number at a place, which all runs have."""
        values = [run.values[place] for run in runs]
        return cls(mean(values), stdev(values) if len(values) > 1 else None, tuple(run.seed for run in runs))

    def __str__(self) -> str:
        spread = "one seed" if self.sd is None else f"± {self.sd:.1f}, {len(self.seeds)} seeds"
        return f"{self.mean:.1f} ({spread})"


def own_runs(project: Path) -> list[OwnRun]:
    """All runs of rows of tables that lie in a project.

    Raises:
        InputError: a file of one of them is damaged (ArtifactError: its results); names it.
    """
    return [*_ablations(project), *_presets(project)]


def _ablations(project: Path) -> Iterator[OwnRun]:
    for table in tables():
        for variant in table.variants:
            folders = (project / RESULTS / table.folder / variant.name).glob("seed-*")
            for folder in sorted(folders, key=lambda folder: (len(folder.name), folder.name)):
                if (folder / EVALUATION_METRICS).is_file():
                    yield _run(project, table.number, variant.row, folder, folder / PASSPORT.name)


def _presets(project: Path) -> Iterator[OwnRun]:
    if not (project / EVALUATION_METRICS).is_file() or not (project / PARAMETERS).is_file():
        return
    row = PRESETS.get(load_config(project / PARAMETERS).tracking.variant)
    for number in "23" if row else "":
        yield _run(project, number, str(row), project, project / PASSPORT)


def _run(project: Path, table: str, row: str, folder: Path, file: Path) -> OwnRun:
    read_results(folder / EVALUATION_METRICS)  # its errors name what is damaged
    passport = read_passport(file) if file.is_file() else None
    spent = [cost["wall_s"] for cost in passport.cost.values()] if passport else []
    config, scores = load_config(folder / PARAMETERS), read_json(folder / EVALUATION_METRICS)
    return OwnRun(
        table,
        row,
        config.seed,
        numbers(scores, ""),
        {f"{dataset}/{split}": facts for dataset, splits in scores.items() for split, facts in splits.items()},
        config.model.base is not None,
        origin_of(passport, file.relative_to(project)) if passport else None,
        sum(spent) if spent else None,
    )
