"""Our numbers for the paper's tables: what `glus ablate` has left, and the project's own run of a preset of Table 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from glus.ablations.tables import tables
from glus.config import load_config, read_parameters
from glus.errors import InputError
from glus.evaluation.results import read_results
from glus.files import read_json
from glus.paths import EVALUATION_METRICS
from glus.pipeline.origin import origin_of
from glus.pipeline.passport import PARAMETERS, PASSPORT, read_passport
from glus.pipeline.table import STEPS
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
        parameters: those that decide its scores, by dotted key; all but the seed.
        changes: keys that the row is about.
        pretrained: whether it began from given weights, as the paper does, or from nothing.
        origin: what its passport says; None where there is none.
        seconds: wall seconds of the steps that this run computed itself; None where no record of them is left.
    """

    table: str
    row: str
    seed: int
    values: Mapping[str, float]
    splits: Mapping[str, Mapping[str, Any]]
    parameters: Mapping[str, Any]
    changes: tuple[str, ...]
    pretrained: bool
    origin: Origin | None
    seconds: float | None

    def differences(self, other: OwnRun) -> list[str]:
        """Why the two cannot be compared: parameters that differ, though neither row is about them."""
        about = () if self.row == other.row else (*self.changes, *other.changes)
        return [
            key
            for key in sorted({*self.parameters, *other.parameters})
            if self.parameters.get(key) != other.parameters.get(key)
            and not any(key == changed or key.startswith(f"{changed}.") for changed in about)
        ]


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


def comparable_groups(runs: Sequence[OwnRun]) -> list[list[OwnRun]]:
    """Runs of one table, apart where they were made on top of different parameters; in their order."""
    groups: list[list[OwnRun]] = []
    for run in runs:
        fitting = (group for group in groups if not any(member.differences(run) for member in group))
        group = next(fitting, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return groups


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
                    changes = tuple(table.changes(variant))
                    yield _run(project, (table.number, variant.row), changes, folder, folder / PASSPORT.name)


def _presets(project: Path) -> Iterator[OwnRun]:
    if not (project / EVALUATION_METRICS).is_file() or not (project / PARAMETERS).is_file():
        return
    row = PRESETS.get(load_config(project / PARAMETERS).tracking.variant)
    for number in "23" if row else "":
        yield _run(project, (number, str(row)), (), project, project / PASSPORT)


def _run(project: Path, place: tuple[str, str], changes: tuple[str, ...], folder: Path, file: Path) -> OwnRun:
    read_results(folder / EVALUATION_METRICS)  # its errors name what is damaged
    passport = read_passport(file) if file.is_file() else None
    spent = [cost["wall_s"] for cost in passport.cost.values()] if passport else []
    parameters = _parameters(folder / PARAMETERS)
    scores = read_json(folder / EVALUATION_METRICS)
    decides = tuple(f"{key}." for step in STEPS for key in step.parameters if key != "seed")
    return OwnRun(
        *place,
        parameters["seed"],
        numbers(scores, ""),
        {f"{dataset}/{split}": facts for dataset, splits in scores.items() for split, facts in splits.items()},
        {key: value for key, value in parameters.items() if f"{key}.".startswith(decides)},
        changes,
        parameters["model.base"] is not None,
        origin_of(passport, file.relative_to(project)) if passport else None,
        sum(spent) if spent else None,
    )


def _parameters(file: Path) -> dict[str, Any]:
    """Values by dotted key, as whichever version of ours wrote them: keys of today may be missing."""
    values = read_parameters(file)
    found = dict(_leaves(values, "")) if isinstance(values, dict) else {}
    if missing := sorted({"seed", "model.base"} - found.keys()):
        raise InputError(
            f"{file} does not hold the parameters of a run (without {' and '.join(missing)}); run `glus ablate` for it"
            " again, or remove its folder."
        )
    return found


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Values by dotted key; a list is one value."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
