"""Where each number of the paper stands: reproduced, differs, or not run, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from glus.ablations.paper import STEPS, PaperCell
from glus.ablations.results import PRESETS, OwnRun, Spread, comparable_groups
from glus.ablations.tables import tables
from glus.metrics.protocols import RELEASES

TOLERANCE = 1.0  # points: the paper gives one run and no spread
SIZE = "glus_s"  # the preset whose model and data the ablations of the paper have
PAPERS_RELEASE = {"mevis": "v1"}  # v2 has other sentences


class Outcome(StrEnum):
    """How a number of the paper compares with ours."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Standing:
    """A number of the paper and ours.

    Attributes:
        why: of an outcome that is not a comparison; empty otherwise.
        ours: None where there is nothing to compare with.
        protocol: name and version; empty where nothing was scored.
        seconds: of all runs together; None where no record is left.
        command: what makes it; empty where nothing here does.
    """

    cell: PaperCell
    outcome: Outcome
    why: str = ""
    ours: Spread | None = None
    protocol: str = ""
    seconds: float | None = None
    command: str = ""


def stand(cell: PaperCell, runs: Sequence[OwnRun]) -> Standing:
    """Compares a number with our runs of the same row; only the same data and pretrained weights count.

    Of runs with different parameters those with the most seeds.
    """
    command = _command(cell)
    if cell.place == STEPS:
        return Standing(cell, Outcome.NOT_RUN, "we compare scores, not the step of the best checkpoint")
    if not command:
        return Standing(cell, Outcome.NOT_RUN, "the paper quotes another method; nothing here makes it")
    mine = [run for run in runs if (run.table, run.row) == (cell.table, cell.row)]
    scored = [run for run in mine if cell.place in run.values]
    comparable = [run for run in scored if not _unlike(cell, run)]
    if not comparable:
        return Standing(cell, Outcome.NOT_RUN, _why(cell, mine, scored), command=command)
    comparable = max(comparable_groups(comparable), key=len)
    ours = Spread.over(comparable, cell.place)
    within = abs(ours.mean - cell.value) <= max(TOLERANCE, 2 * (ours.sd or 0.0))
    outcome = Outcome.REPRODUCED if within else Outcome.DIFFERS
    return Standing(cell, outcome, "", ours, protocol_of_runs(comparable, cell.split), seconds_of(comparable), command)


def protocol_of_runs(runs: Sequence[OwnRun], split: str) -> str:
    """E.g. `mevis 1 on v1`; several where runs differ."""
    return ", ".join(dict.fromkeys(_protocol(run.splits[split]) for run in runs))


def seconds_of(runs: Sequence[OwnRun]) -> float | None:
    """What runs have cost together; None where no record of it is left."""
    known = [run.seconds for run in runs if run.seconds is not None]
    return sum(known) if known else None


def _protocol(facts: Mapping[str, Any]) -> str:
    return f"{facts['protocol']} {facts['protocol_version']} on {facts['dataset_version']}"


def _command(cell: PaperCell) -> str:
    """What makes a number; empty for a row that nothing here makes."""
    for preset, row in PRESETS.items():
        if cell.table in ("2", "3") and cell.row == row:
            return f"glus params --preset {preset} && dvc repro"
    for table in tables():
        for variant in table.variants:
            if (table.number, variant.row) == (cell.table, cell.row):
                row = f"glus ablate {table.number} --only {variant.name} --seeds 0,1,2"
                return (
                    f"{row} --preset {SIZE}"
                    if variant.needs is None
                    else (f"glus params --preset {SIZE} {variant.needs}=... && {row}")
                )
    return ""


def _why(cell: PaperCell, mine: Sequence[OwnRun], scored: Sequence[OwnRun]) -> str:
    if scored:
        return _unlike(cell, scored[0])
    if mine:
        there = dict.fromkeys(split for run in mine for split in run.splits)
        return f"our runs of this row were scored on {', '.join(there)}"
    return "nobody has run it here: it needs the dataset and the published weights"


def _unlike(cell: PaperCell, run: OwnRun) -> str:
    """Why a run's number is no comparison with the paper's; empty where it is one."""
    if not run.pretrained:
        return "our runs of this row began from nothing (model.base is null), the paper's from LISA-7B"
    dataset, split = cell.split.split("/")
    found, released = run.splits[cell.split]["dataset_version"], RELEASES.get((dataset, split), {}).values()
    wanted = [PAPERS_RELEASE[dataset]] if dataset in PAPERS_RELEASE else list(released)
    if wanted and found not in wanted:
        return f"our runs of this row were scored on {cell.split} of {found}, the paper's on {wanted[-1]}"
    return ""
