"""What the report shows of one evaluation split, read back from what `evaluate` has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glus.evaluation.results import Results, SplitResult
from glus.files import read_json
from glus.metrics.protocols import protocol_of
from glus.reporting.cards import AskedClip, Card
from glus.reporting.gallery import CARDS, OVERLAYS
from glus.reporting.spread import SentenceSpread, read_spread

CHARTS, PER_EXPRESSION = "charts", "per_expression.parquet"


@dataclass(frozen=True)
class SplitSection:
    """What the report shows of one evaluation split.

    Attributes:
        name: e.g. `synthetic/test`.
        rule: what its protocol averages, in words.
        result: what was found.
        charts: its pictures as a whole, SVG by name.
        comparison_cards: the ways to predict side by side.
        example_cards: best, typical and worst expressions.
        asked: sentences about one of its clips; None where none is shown.
        spread: None where single expressions are not known.
    """

    name: str
    rule: str
    result: SplitResult
    charts: Mapping[str, str]
    comparison_cards: Sequence[Card] = ()
    example_cards: Sequence[Card] = ()
    asked: AskedClip | None = None
    spread: SentenceSpread | None = None


def read_sections(results: Results, reports: Path) -> list[SplitSection]:
    """The sections of all splits of the results; pictures that are not there are left out.

    Raises:
        ArtifactError: a table of `evaluate` is damaged.
        InputError: its list of pictures is.
    """
    return [
        _section(dataset, f"{dataset}/{split}", result, reports / dataset / split)
        for dataset, splits in results.items()
        for split, result in splits.items()
    ]


def _section(dataset: str, name: str, result: SplitResult, folder: Path) -> SplitSection:
    drawn: dict[str, Any] = read_json(folder / CARDS) if (folder / CARDS).is_file() else {}
    overlays, table = folder / OVERLAYS, folder / PER_EXPRESSION
    return SplitSection(
        name,
        protocol_of(dataset).rule,
        result,
        {file.stem: file.read_text(encoding="utf-8") for file in sorted((folder / CHARTS).glob("*.svg"))},
        [Card.from_json(values, overlays) for values in drawn.get("comparisons", [])],
        [Card.from_json(values, overlays) for values in drawn.get("examples", [])],
        AskedClip.from_json(drawn["asked"], overlays) if drawn.get("asked") else None,
        read_spread(table) if table.is_file() else None,
    )
