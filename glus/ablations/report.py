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
from glus.ablations.results import RESULTS, OwnRun, Spread, own_runs
from glus.ablations.standing import Outcome, Standing, protocol_of_runs, seconds_of, stand
from glus.ablations.tables import tables
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
    """J&F of a row of a table on one split, over the seeds that were run here, and of each family there."""

    row: str
    split: str
    jf: Spread
    families: Mapping[str, FamilyResult]
    protocol: str
    seconds: float | None


@dataclass(frozen=True)
class ReportedTable:
    """One table: the paper's numbers and where they stand; what was measured here on whatever data, by which runs."""

    number: str
    title: str
    standings: tuple[Standing, ...]
    measured: tuple[Measured, ...]
    runs: tuple[OwnRun, ...]

    @property
    def families(self) -> list[str]:
        """All families that any of its rows was scored on."""
        return sorted({family for found in self.measured for family in found.families})

    @property
    def heading(self) -> str:
        """E.g. `Table 4: ...`."""
        return f"{'Table ' if self.standings else ''}{self.number}: {self.title}"


def write_report(project: Path) -> Counter[Outcome]:
    """Writes the report into `ablations/`, the same bytes for the same runs; says how many numbers stand how.

    Raises:
        InputError: a file of a run is damaged; names it.
    """
    sections = list(_sections(own_runs(project)))
    counts = Counter(standing.outcome for section in sections for standing in section.standings)
    environment = page_environment(Path(__file__).parent / "templates")
    environment.filters["cost"] = _cost
    (project / RESULTS).mkdir(exist_ok=True)
    for template, target in TEMPLATES.items():
        text = environment.get_template(template).render(sections=sections, counts=counts, outcomes=list(Outcome))
        replace_by_text(project / target, text)
    if any(section.measured for section in sections):
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
        SeedSpread(section.number, found.row, found.split, str(found.jf))
        for section in _sections(own_runs(project))
        for found in section.measured
    ]


def paper_numbers() -> list[PaperNumber]:
    """The paper's J&F of all methods, by split."""
    cells = (cell for table in paper_tables() for cell in table.cells())
    return [
        PaperNumber(cell.table, cell.row, cell.split, cell.value)
        for cell in cells
        if cell.place == f"{cell.split}/{JF}"
    ]


def _sections(runs: Sequence[OwnRun]) -> Iterator[ReportedTable]:
    quoted = {table.number: table for table in paper_tables()}
    own = {table.number: table.title for table in tables() if table.number not in quoted}
    for number, title in {**{number: table.title for number, table in quoted.items()}, **own}.items():
        cells = quoted[number].cells() if number in quoted else ()
        of_table = tuple(run for run in runs if run.table == number)
        measured = tuple(_measured(of_table))
        if number in quoted or measured:
            yield ReportedTable(number, title, tuple(stand(cell, runs) for cell in cells), measured, of_table)


def _measured(runs: Sequence[OwnRun]) -> Iterator[Measured]:
    for row in dict.fromkeys(run.row for run in runs):
        of_row = [run for run in runs if run.row == row]
        for split in dict.fromkeys(split for run in of_row for split in run.splits):
            scored = [run for run in of_row if f"{split}/{JF}" in run.values]
            if scored:
                spread = Spread.over(scored, f"{split}/{JF}")
                families, protocol = dict(_families(scored, split)), protocol_of_runs(scored, split)
                yield Measured(row, split, spread, families, protocol, seconds_of(scored))


def _families(runs: Sequence[OwnRun], split: str) -> Iterator[tuple[str, FamilyResult]]:
    """The families that all of some runs were scored on."""
    for family in sorted(set.intersection(*(set(run.splits[split]["families"]) for run in runs))):
        place = f"{split}/families/{family}"
        answers = (f"{place}/baselines/{name}/{JF}" for name in TRIVIAL_BASELINES)
        scored = [answer for answer in answers if all(answer in run.values for run in runs)]
        trivial = max((Spread.over(runs, answer).mean for answer in scored), default=None)
        yield family, FamilyResult(Spread.over(runs, f"{place}/{JF}"), trivial)


def _cost(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"


def _metrics(sections: Iterable[ReportedTable], counts: Counter[Outcome]) -> dict[str, Any]:
    """What `dvc metrics` reads."""
    values: dict[str, Any] = {"numbers": {str(outcome): counts[outcome] for outcome in Outcome}}
    for section in sections:
        for found in section.measured:
            scores = {"mean": found.jf.mean} | ({} if found.jf.sd is None else {"sd": found.jf.sd})
            values.setdefault(section.number, {}).setdefault(found.row, {})[found.split] = {JF: scores}
    return values


def _lines(sections: Iterable[ReportedTable]) -> str:
    """What `dvc plots` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "row", "split", JF, "sd", "seeds"])
    for section in sections:
        for found in section.measured:
            sd = "" if found.jf.sd is None else found.jf.sd
            writer.writerow([section.number, found.row, found.split, found.jf.mean, sd, len(found.jf.seeds)])
    return text.getvalue()
