"""The results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glus.evaluation.results import PredictedSplit, ScoredSplit, read_results
from glus.metrics.compared_ways import WayScores
from glus.metrics.failures import Failure, Losses
from glus.metrics.key_frames import KeyFrameRegret
from glus.metrics.mean_logit import ThresholdScores
from glus.metrics.results import Scores
from glus.reporting.page import PAGE
from glus.reporting.verdicts import (
    ALL,
    BASELINE_TITLES,
    KEY_FRAME_TITLES,
    LEARNED_MARGIN,
    ComparisonRow,
    Row,
    comparison_rows,
    failure_rows,
    family_rows,
    is_learned,
    regret_rows,
    way_rows,
)

PLAIN_WIDTH = 80  # columns where the output is no terminal
NOTES = (
    "[dim]ref: percent of the expressions whose most covered object is the right one. empty to largest: J&F of answers"
    " that ignore the words. shuffled: the masks, each scored against another object's expression. learned:"
    f" {LEARNED_MARGIN:.0f} points or more above the best answer that ignores the words. All but J, F, J&F: plain"
    " means over expressions, whatever the protocol averages.[/]\n"
)
FAILURE_COLUMNS = {
    Failure.BOUNDARY: "boundary",
    Failure.EXTENT: "extent",
    Failure.WRONG_OBJECT: "object",
    Failure.MISSED: "missed",
    Failure.EMPTY: "empty",
    Failure.FALSE_ALARM: "alarm",
}


def print_report(path: Path) -> None:
    """Prints the results beside their baselines, the comparisons and where the HTML report is.

    Args:
        path: `metrics/evaluate.json` of a project.

    Raises:
        ArtifactError: `evaluate` has not run, or the file is not its own.
    """
    results = read_results(path)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    for dataset, splits in results.items():
        for split, result in splits.items():
            if isinstance(result, PredictedSplit):
                console.print(
                    f"[bold]{dataset}/{split}[/]: {result.num_expressions} expressions predicted, not scored"
                    f" ({result.protocol}: the set comes without masks).\n"
                )
            else:
                _print_split(console, f"{dataset}/{split}", result)
    report = path.parent.parent / PAGE
    if report.is_file():
        console.print(f"Report with pictures: [bold]{report}[/]", soft_wrap=True)


def _print_split(console: Console, name: str, split: ScoredSplit) -> None:
    title = f"{name} · protocol {split.scores.protocol} · percent"
    console.print(_family_table(title, family_rows(split.scores.means)))
    console.print(NOTES)
    if split.failures:
        rows = failure_rows(split.failures.losses)
        console.print(_failure_table(f"{name} · points of J&F lost, and to what", rows))
    if split.key_frame_regret:
        console.print(_regret_table(f"{name} · J&F by the key frame", regret_rows(split.key_frame_regret)))
    if split.window_strides:
        title = f"{name} · J&F by the frames that a window answers for"
        console.print(_way_table(title, "stride", way_rows(split.window_strides)))
    if split.training_steps:
        title = f"{name} · J&F by the steps of training (Figure 4)"
        console.print(_way_table(title, "step", way_rows(split.training_steps)))
    if split.thresholds:
        console.print(_threshold_table(f"{name} · empty answers below a mean logit, percent", split.thresholds))
    if comparisons := comparison_rows(split.comparisons):
        console.print(_comparison_table(f"{name} · J on the grey frames", comparisons))


def _comparison_table(title: str, rows: Sequence[ComparisonRow]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=0)
    for name in ("", "without", "", "with", "", "gain"):
        table.add_column(name, justify="right" if name else "left")
    for row in rows:
        table.add_row(
            row.title,
            f"{row.without:.1f}",
            row.without_title,
            Text(f"{row.with_:.1f}", "bold"),
            row.with_title,
            f"{row.gain:+.1f}",
        )
    return table


def _family_table(title: str, rows: Sequence[Row[Scores]]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=0)
    table.add_column("family", no_wrap=True)
    for name in ("n", "J", "F", "J&F", "ref", *BASELINE_TITLES.values(), "learned"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.name == ALL:
            table.add_section()
        scores, learned = row.result, is_learned(row.result)
        baselines = (_number(scores.baselines.get(name)) for name in BASELINE_TITLES)
        table.add_row(
            row.name,
            str(scores.num_expressions),
            _number(scores.j),
            _number(scores.f),
            Text(_number(scores.jf), "bold green" if learned else "bold yellow"),
            _share(scores.referent_accuracy),
            *(Text(number, "dim") for number in baselines),
            "" if row.name == ALL else Text("yes", "green") if learned else Text("no", "yellow"),
        )
    return table


def _failure_table(title: str, rows: Sequence[Row[Losses]]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("family", no_wrap=True)
    for name in ("lost", *FAILURE_COLUMNS.values()):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.name == ALL:
            table.add_section()
        most = max(row.result.kinds.values())
        parts = (row.result.kinds[kind] for kind in FAILURE_COLUMNS)
        cells = [Text(_number(points), "bold" if points == most else "dim") for points in parts]
        table.add_row(row.name, _number(row.result.lost), *cells)
    return table


def _regret_table(title: str, rows: Sequence[Row[KeyFrameRegret]]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("family", no_wrap=True)
    for name in ("n", *KEY_FRAME_TITLES, "regret", "closed"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.name == ALL:
            table.add_section()
        jf = row.result.jf
        closed = _share(jf.gap_closed)
        table.add_row(
            row.name,
            str(row.result.num_expressions),
            _number(jf.first),
            _number(jf.random),
            Text(_number(jf.selected), "bold"),
            _number(jf.oracle),
            _number(jf.regret),
            closed if jf.gap_closed is None else f"{closed} %",
        )
    return table


def _way_table(title: str, kind: str, rows: Sequence[Row[WayScores]]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("family", no_wrap=True)
    for name in ("n", "main", *(f"{kind} {way}" for way in rows[0].result.ways)):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if row.name == ALL:
            table.add_section()
        cells = (f"{jf:.1f} ({jf - row.result.main:+.1f})" for jf in row.result.ways.values())
        table.add_row(row.name, str(row.result.num_expressions), Text(_number(row.result.main), "bold"), *cells)
    return table


def _threshold_table(title: str, rows: Sequence[ThresholdScores]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    for name in ("threshold", "J&F", "empty without target", "answered with target"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(f"{row.threshold:g}", *map(_number, (row.jf, row.absent_empty, row.present_answered)))
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f}"
