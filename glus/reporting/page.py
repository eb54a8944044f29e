"""The HTML report: one file with everything in it, no external resources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from glus.evaluation.results import PredictedSplit, SplitResult
from glus.metrics.by_key_frame import SMALLEST_GAP
from glus.paths import SELECTOR_METRICS, TRAINING_CURVES
from glus.reporting.cards import Card
from glus.reporting.figures import draw_training_curves
from glus.reporting.pictures import data_uri
from glus.reporting.verdicts import (
    BASELINE_TITLES,
    FAILURE_TITLES,
    KEY_FRAME_TITLES,
    LEARNED_MARGIN,
    best_trivial,
    comparison_rows,
    failure_rows,
    family_rows,
    is_learned,
    regret_rows,
    way_rows,
)

TEMPLATE = "page.html"


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
    """

    name: str
    rule: str
    result: SplitResult
    charts: Mapping[str, str]
    comparison_cards: Sequence[Card]
    example_cards: Sequence[Card]


def write_page(sections: Sequence[SplitSection], path: Path, metrics_folder: Path) -> None:
    """Renders the report.

    Args:
        sections: the evaluation splits.
        path: the HTML file.
        metrics_folder: where training curves and the selector's metrics lie, if those steps ran here.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["picture"] = _data_uri
    curves, selector = (metrics_folder / path.name for path in (TRAINING_CURVES, SELECTOR_METRICS))
    page = environment.get_template(TEMPLATE).render(
        sections=[_shown(section) for section in sections],
        baselines=BASELINE_TITLES,
        learned_margin=LEARNED_MARGIN,
        is_learned=is_learned,
        best_trivial=best_trivial,
        failure_titles=FAILURE_TITLES,
        key_frame_titles=KEY_FRAME_TITLES,
        smallest_gap=SMALLEST_GAP,
        training=Markup(draw_training_curves(curves)) if curves.is_file() else None,
        selector=_numbers(json.loads(selector.read_text(encoding="utf-8"))) if selector.is_file() else None,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _shown(section: SplitSection) -> dict[str, Any]:
    """A section as the template reads it."""
    shown = {
        "name": section.name,
        "rule": section.rule,
        "result": section.result,
        "is_scored": False,
        "charts": {name: Markup(svg) for name, svg in section.charts.items()},
        "comparison_cards": [_markup(card) for card in section.comparison_cards],
        "example_cards": [_markup(card) for card in section.example_cards],
    }
    split = section.result
    if isinstance(split, PredictedSplit):
        return shown
    return shown | {
        "is_scored": True,
        "families": family_rows(split.scores.means),
        "failures": failure_rows(split.failures.losses) if split.failures else [],
        "regret": regret_rows(split.key_frame_regret) if split.key_frame_regret else [],
        "strides": way_rows(split.window_strides) if split.window_strides else [],
        "steps": way_rows(split.training_steps) if split.training_steps else [],
        "thresholds": split.thresholds,
        "comparisons": comparison_rows(split.comparisons),
    }


def _markup(card: Card) -> dict[str, Any]:
    curve = Markup(card.curve) if card.curve else None
    return {"title": card.title, "facts": card.facts, "picture": card.picture, "curve": curve}


def _data_uri(picture: Path) -> str:
    return data_uri(picture.read_bytes())


def _numbers(tree: Any, prefix: str = "") -> dict[str, float]:
    """The numbers in nested metrics, by dotted names."""
    if isinstance(tree, Mapping):
        return {
            name: value
            for key, inner in tree.items()
            for name, value in _numbers(inner, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    return {prefix: tree} if isinstance(tree, int | float) and not isinstance(tree, bool) else {}
