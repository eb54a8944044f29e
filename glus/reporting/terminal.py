"""The results as tables on the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glus.errors import ArtifactError
from glus.metrics.failures import Failure
from glus.paths import EVALUATION_METRICS, REPORTS
from glus.reporting.verdicts import (
    BASELINE_TITLES,
    LEARNED_MARGIN,
    START_TITLES,
    FailureRow,
    FamilyRow,
    RegretRow,
    comparison_rows,
    failure_rows,
    family_rows,
    regret_rows,
)

REPORT = REPORTS / "index.html"
PLAIN_WIDTH = 80  # columns where the output is no terminal
NOTES = (
    "[dim]ref: percent of the expressions whose most covered object is the right one. empty to largest: J&F of answers"
    " that ignore the words. shuffled: the masks, each scored against another object's expression. learned:"
    f" {LEARNED_MARGIN:.0f} points or more above the best answer that ignores the words.[/]\n"
)
FAILURE_COLUMNS = {
    Failure.BOUNDARY: "boundary",
    Failure.EXTENT: "extent",
    Failure.WRONG_OBJECT: "object",
    Failure.MISSED: "missed",
    Failure.EMPTY: "empty",
    Failure.FALSE_ALARM: "alarm",
}


def print_report(path: Path = EVALUATION_METRICS, console: Console | None = None) -> None:
    """Prints the results beside their baselines, the comparisons and where the HTML report is.

    Args:
        path: `metrics/evaluate.json` of a project.
        console: where to print; standard output where None.

    Raises:
        ArtifactError: `evaluate` has not run, or the file is not its own.
    """
    metrics = read_metrics(path)
    if console is None:
        console = Console()
        if not console.is_terminal:
            console = Console(width=PLAIN_WIDTH)
    for dataset, splits in metrics.items():
        for split, values in splits.items():
            _print_split(console, f"{dataset}/{split}", values)
    report = path.parent.parent / REPORT
    if report.is_file():
        console.print(f"Report with pictures: [bold]{report}[/]", soft_wrap=True)


def read_metrics(path: Path) -> dict[str, Any]:
    """Reads `metrics/evaluate.json`.

    Raises:
        ArtifactError: not there, or not JSON.
    """
    try:
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} does not exist: there are no results yet. Run `make demo`, `dvc repro` or, if everything before it"
            " is done, `glus evaluate`."
        ) from error
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path} is not valid JSON ({error}); run `glus evaluate` again.") from error
    return metrics


def _print_split(console: Console, name: str, metrics: Mapping[str, Any]) -> None:
    rows = family_rows(metrics)
    if not rows:
        console.print(
            f"[bold]{name}[/]: {metrics['num_expressions']} expressions predicted, not scored"
            f" ({metrics['protocol']}: its server keeps the masks).\n"
        )
        return
    console.print(_family_table(f"{name} · protocol {metrics['protocol']} · percent", rows))
    console.print(NOTES)
    if failures := failure_rows(metrics):
        console.print(_failure_table(f"{name} · points of J&F lost, and to what", failures))
    if regret := regret_rows(metrics):
        console.print(_regret_table(f"{name} · J&F by the frame that masks start from", regret))
    comparisons = comparison_rows(metrics)
    if comparisons:
        table = Table(title=f"{name} · J on the grey frames", box=box.SIMPLE_HEAD, title_justify="left", padding=0)
        for title in ("", "without", "", "with", "", "gain"):
            table.add_column(title, justify="left" if not title else "right")
        for row in comparisons:
            table.add_row(
                row.title,
                f"{row.without:.1f}",
                row.without_title,
                Text(f"{row.with_:.1f}", "bold"),
                row.with_title,
                f"{row.gain:+.1f}",
            )
        console.print(table)


def _family_table(title: str, rows: list[FamilyRow]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=0)
    table.add_column("family", no_wrap=True)
    for name in ("n", "J", "F", "J&F", "ref", *BASELINE_TITLES.values(), "learned"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.name == "all":
            table.add_section()
        table.add_row(
            row.name,
            str(row.num_expressions),
            f"{row.j:.1f}",
            f"{row.f:.1f}",
            Text(f"{row.jf:.1f}", "bold green" if row.learned else "bold yellow"),
            "–" if row.referent_accuracy is None else f"{100 * row.referent_accuracy:.0f}",
            *(Text(f"{row.baselines[name]:.1f}" if name in row.baselines else "–", "dim") for name in BASELINE_TITLES),
            "" if row.name == "all" else Text("yes", "green") if row.learned else Text("no", "yellow"),
        )
    return table


def _failure_table(title: str, rows: list[FailureRow]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("family", no_wrap=True)
    for name in ("lost", *FAILURE_COLUMNS.values()):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.name == "all":
            table.add_section()
        most = max(row.kinds.values())
        parts = (row.kinds[kind] for kind in FAILURE_COLUMNS)
        cells = [Text(f"{points:.1f}", "bold" if points == most else "dim") for points in parts]
        table.add_row(row.name, f"{row.lost:.1f}", *cells)
    return table


def _regret_table(title: str, rows: list[RegretRow]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("family", no_wrap=True)
    for name in ("n", *START_TITLES, "regret", "closed"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.name == "all":
            table.add_section()
        table.add_row(
            row.name,
            str(row.num_expressions),
            *(Text(_number(row.jf[start]), "bold" if start == "selected" else "") for start in START_TITLES),
            _number(row.regret),
            "–" if row.gap_closed is None else f"{100 * row.gap_closed:.0f} %",
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
