"""The paper's tables with ours beside them: `ablations/report.html` and `.md`, and for DVC `.json` and `.csv`.

The pages are views, which git ignores; the other two hold what was measured, and are there where something was.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glus.ablations.paper import paper_tables
from glus.ablations.results import RESULTS, OwnRun, Spread, comparable_groups, own_runs
from glus.ablations.standing import Outcome, Standing, protocol_of_runs, seconds_of, stand
from glus.ablations.tables import tables
from glus.ablations.workspace import COPIES
from glus.errors import name_some
from glus.files import replace_by_text, write_json
from glus.metrics.results import JF
from glus.metrics.scoring import TRIVIAL_BASELINES
from glus.reporting.pages import page_environment
from glus.reporting.run_facts import PaperNumber, SeedSpread

REPORT = RESULTS / "report.html"
TEMPLATES = {"report.html": REPORT, "report.md": REPORT.with_suffix(".md")}
METRICS_FILE, PLOTS_FILE = REPORT.with_suffix(".json"), REPORT.with_suffix(".csv")


@dataclass(frozen=True)
class FamilyResult:
    """J&F of one family of expressions, and of the best answer that ignores the words; None where none was scored."""

    jf: Spread
    trivial: float | None

    def __str__(self) -> str:
        return str(self.jf) if self.trivial is None else f"{self.jf} [{self.trivial:.1f}]"


@dataclass(frozen=True)
class Measured:
    """J&F of a row of a table on one split, over the seeds that were run here.

    Attributes:
        families: of each family.
        steps: after each number of training steps whose model was compared (Figure 4), and `last`.
    """

    row: str
    split: str
    jf: Spread
    families: Mapping[str, FamilyResult]
    steps: Mapping[str, Spread]
    protocol: str
    seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """Rows of a table that were made on top of the same parameters.

    Attributes:
        name: of the table, with a number from the second comparison on.
        differs: parameters that are not as in the first comparison, in words; empty for that one.
    """

    name: str
    differs: str
    measured: tuple[Measured, ...]

    @property
    def families(self) -> list[str]:
        """All families that any of its rows was scored on."""
        return sorted({family for found in self.measured for family in found.families})

    @property
    def steps(self) -> list[str]:
        """All training steps after which any of its rows was scored, the last one behind the others."""
        steps = {step for found in self.measured for step in found.steps}
        return sorted(steps, key=lambda step: (not step.isdecimal(), int(step) if step.isdecimal() else 0))


@dataclass(frozen=True)
class ReportedTable:
    """One table.

    Attributes:
        standings: the paper's numbers and where they stand.
        comparisons: what was measured here, on whatever data.
        runs: by which.
        unfinished: rows and seeds that were begun here and have not come to their end.
    """

    number: str
    title: str
    standings: tuple[Standing, ...]
    comparisons: tuple[Comparison, ...]
    runs: tuple[OwnRun, ...]
    unfinished: tuple[str, ...]

    @property
    def heading(self) -> str:
        """E.g. `Table 4: ...`."""
        return f"{'Table ' if self.standings else ''}{self.number}: {self.title}"


def write_report(project: Path) -> Counter[Outcome]:
    """Writes the report into `ablations/`, the same bytes for the same runs; says how many numbers stand how.

    Raises:
        InputError: a file of a run is damaged; names it.
    """
    sections = list(_sections(project))
    counts = Counter(standing.outcome for section in sections for standing in section.standings)
    environment = page_environment(Path(__file__).parent / "templates")
    environment.filters["cost"] = _cost
    (project / RESULTS).mkdir(exist_ok=True)
    for template, target in TEMPLATES.items():
        text = environment.get_template(template).render(sections=sections, counts=counts, outcomes=list(Outcome))
        replace_by_text(project / target, text)
    if any(section.comparisons for section in sections):
        write_json(_metrics(sections, counts), project / METRICS_FILE)
        replace_by_text(project / PLOTS_FILE, _lines(sections))
    else:
        for file in (METRICS_FILE, PLOTS_FILE):
            (project / file).unlink(missing_ok=True)
    return counts


def seed_spreads(project: Path) -> list[SeedSpread]:
    """J&F of all rows that were run here, over their seeds, as the page of a run shows them.

    Raises:
        InputError: a file of a run is damaged; names it.
    """
    return [
        SeedSpread(comparison.name, found.row, found.split, str(found.jf))
        for section in _sections(project)
        for comparison in section.comparisons
        for found in comparison.measured
    ]


def paper_numbers() -> list[PaperNumber]:
    """The paper's J&F of all methods, by split."""
    cells = (cell for table in paper_tables() for cell in table.cells())
    return [
        PaperNumber(cell.table, cell.row, cell.split, cell.value)
        for cell in cells
        if cell.place == f"{cell.split}/{JF}"
    ]


def _sections(project: Path) -> Iterator[ReportedTable]:
    runs = own_runs(project)
    quoted = {table.number: table for table in paper_tables()}
    own = {table.number: table.title for table in tables() if table.number not in quoted}
    for number, title in {**{number: table.title for number, table in quoted.items()}, **own}.items():
        cells = quoted[number].cells() if number in quoted else ()
        of_table = tuple(run for run in runs if run.table == number)
        comparisons = tuple(_comparisons(number, of_table))
        unfinished = tuple(_unfinished(project, number))
        if number in quoted or comparisons or unfinished:
            standings = tuple(stand(cell, runs) for cell in cells)
            yield ReportedTable(number, title, standings, comparisons, of_table, unfinished)


def _comparisons(number: str, runs: Sequence[OwnRun]) -> Iterator[Comparison]:
    groups = comparable_groups([run for run in runs if any(f"{split}/{JF}" in run.values for split in run.splits)])
    for place, group in enumerate(groups, start=1):
        name = number if place == 1 else f"{number} ({place})"
        differs = {key for run in groups[0] for one in group for key in run.differences(one)}
        yield Comparison(name, name_some(sorted(differs)) if differs else "", tuple(_measured(group)))


def _unfinished(project: Path, number: str) -> Iterator[str]:
    """Rows whose copies lie there: they were stopped, have failed, or are being made."""
    for table in (table for table in tables() if table.number == number):
        for variant in table.variants:
            for folder in sorted((project / COPIES / "work" / table.folder / variant.name).glob("seed-*/")):
                yield f"{variant.row}, {folder.name.replace('-', ' ')}"


def _measured(runs: Sequence[OwnRun]) -> Iterator[Measured]:
    for row in dict.fromkeys(run.row for run in runs):
        of_row = [run for run in runs if run.row == row]
        for split in dict.fromkeys(split for run in of_row for split in run.splits):
            scored = [run for run in of_row if f"{split}/{JF}" in run.values]
            if scored:
                spread = Spread.over(scored, f"{split}/{JF}")
                families, steps = dict(_families(scored, split)), dict(_steps(scored, split))
                protocol = protocol_of_runs(scored, split)
                yield Measured(row, split, spread, families, steps, protocol, seconds_of(scored))


def _families(runs: Sequence[OwnRun], split: str) -> Iterator[tuple[str, FamilyResult]]:
    """The families that all of some runs were scored on."""
    for family in sorted(set.intersection(*(set(run.splits[split]["families"]) for run in runs))):
        place = f"{split}/families/{family}"
        answers = (f"{place}/baselines/{name}/{JF}" for name in TRIVIAL_BASELINES)
        scored = [answer for answer in answers if all(answer in run.values for run in runs)]
        trivial = max((Spread.over(runs, answer).mean for answer in scored), default=None)
        yield family, FamilyResult(Spread.over(runs, f"{place}/{JF}"), trivial)


def _steps(runs: Sequence[OwnRun], split: str) -> Iterator[tuple[str, Spread]]:
    """The training steps after which all of some runs were scored, and the last; nothing where none was compared."""
    compared = [run.splits[split].get("training_steps") for run in runs]
    if all(compared):
        for step in sorted(set.intersection(*(set(found["ways"]) for found in compared if found)), key=int):
            yield step, Spread.over(runs, f"{split}/training_steps/ways/{step}")
        yield "last", Spread.over(runs, f"{split}/training_steps/main")


def _cost(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"


def _metrics(sections: Iterable[ReportedTable], counts: Counter[Outcome]) -> dict[str, Any]:
    """What `dvc metrics` reads."""
    values: dict[str, Any] = {"numbers": {str(outcome): counts[outcome] for outcome in Outcome}}
    for comparison in (each for section in sections for each in section.comparisons):
        for found in comparison.measured:
            scores = {"mean": found.jf.mean} | ({} if found.jf.sd is None else {"sd": found.jf.sd})
            values.setdefault(comparison.name, {}).setdefault(found.row, {})[found.split] = {JF: scores}
    return values


def _lines(sections: Iterable[ReportedTable]) -> str:
    """What `dvc plots` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "row", "split", JF, "sd", "seeds"])
    for comparison in (each for section in sections for each in section.comparisons):
        for found in comparison.measured:
            sd = "" if found.jf.sd is None else found.jf.sd
            writer.writerow([comparison.name, found.row, found.split, found.jf.mean, sd, len(found.jf.seeds)])
    return text.getvalue()
