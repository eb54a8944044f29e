"""What the report shows of one evaluation split, read back from what `evaluate` has written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glus.errors import ArtifactError
from glus.evaluation.results import Results, SplitResult
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
        ArtifactError: a table or the list of pictures is damaged, or a picture of the list is missing.
    """
    return [
        _section(dataset, f"{dataset}/{split}", result, reports / dataset / split)
        for dataset, splits in results.items()
        for split, result in splits.items()
    ]


def _section(dataset: str, name: str, result: SplitResult, folder: Path) -> SplitSection:
    table = folder / PER_EXPRESSION
    asked, comparisons, examples = _read_cards(folder)
    return SplitSection(
        name,
        protocol_of(dataset).rule,
        result,
        {file.stem: file.read_text(encoding="utf-8") for file in sorted((folder / CHARTS).glob("*.svg"))},
        comparisons,
        examples,
        asked,
        read_spread(table) if table.is_file() else None,
    )


def _read_cards(folder: Path) -> tuple[AskedClip | None, list[Card], list[Card]]:
    """What was asked, the comparisons and the examples; nothing where no list of them lies in a split's folder."""
    file, overlays = folder / CARDS, folder / OVERLAYS
    if not file.is_file():
        return None, [], []
    try:
        drawn = json.loads(file.read_text(encoding="utf-8"))
        asked = AskedClip.from_json(drawn["asked"], overlays) if drawn["asked"] else None
        comparisons, examples = (
            [Card.from_json(values, overlays) for values in drawn[kind]] for kind in ("comparisons", "examples")
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file} is no list of pictures ({error!r}); run `glus evaluate` again.") from error
    pictures = [card.picture for card in (*comparisons, *examples)] + ([asked.picture] if asked else [])
    if missing := next((picture for picture in pictures if not picture.is_file()), None):
        raise ArtifactError(
            f"{file} lists {missing.name}, which does not lie in {overlays}; run `glus evaluate` again."
        )
    return asked, comparisons, examples
