"""The HTML report: one file with everything in it, no external resources."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from glus.evaluation.results import PredictedSplit, read_results
from glus.files import replace_by_text
from glus.metrics.by_key_frame import SMALLEST_GAP
from glus.paths import EVALUATION_METRICS, METRICS, REPORTS, SELECTOR_METRICS, TRAINING_CURVES
from glus.reporting.cards import Card
from glus.reporting.figures import draw_training_curves
from glus.reporting.gallery import TYPICAL
from glus.reporting.pages import page_environment
from glus.reporting.run_facts import RunFacts
from glus.reporting.sections import SplitSection, read_sections
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
NUM_SHOWN_FIRST = 3
PAGE = REPORTS / "index.html"  # a view of what lies beside it: no part of the artifact, and unknown to DVC (.dvcignore)


def write_report(project: Path, run: RunFacts | None = None) -> None:
    """Writes the page of the results that lie in a project.

    Args:
        run: what is known beside the scores; None where nobody has looked yet.

    Raises:
        ArtifactError: there are no results, or they or their pictures are damaged.
    """
    sections = read_sections(read_results(project / EVALUATION_METRICS), project / REPORTS)
    write_page(sections, project / PAGE, project / METRICS, run)


def write_page(sections: Sequence[SplitSection], path: Path, metrics_folder: Path, run: RunFacts | None = None) -> None:
    """Renders the report.

    Args:
        sections: the evaluation splits.
        path: the HTML file.
        metrics_folder: where training curves and the selector's metrics lie, if those steps ran here.
        run: see `write_report`.
    """
    curves, selector = (metrics_folder / path.name for path in (TRAINING_CURVES, SELECTOR_METRICS))
    page = (
        page_environment()
        .get_template(TEMPLATE)
        .render(
            sections=[_shown(section, run) for section in sections],
            run=run,
            baselines=BASELINE_TITLES,
            learned_margin=LEARNED_MARGIN,
            is_learned=is_learned,
            best_trivial=best_trivial,
            failure_titles=FAILURE_TITLES,
            key_frame_titles=KEY_FRAME_TITLES,
            smallest_gap=SMALLEST_GAP,
            training=draw_training_curves(curves) if curves.is_file() else None,
            selector=_numbers(json.loads(selector.read_text(encoding="utf-8"))) if selector.is_file() else None,
        )
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_by_text(path, page)


def _shown(section: SplitSection, run: RunFacts | None) -> dict[str, Any]:
    """A section as the template reads it."""
    shown = {field.name: getattr(section, field.name) for field in fields(section)} | {
        "is_scored": False,
        **_in_order(section.example_cards),
    }
    split = section.result
    if isinstance(split, PredictedSplit):
        return shown
    return shown | {
        "is_scored": True,
        "paper": [number for number in run.paper if number.split == section.name] if run else [],
        "families": family_rows(split.scores.means),
        "failures": failure_rows(split.failures.losses) if split.failures else [],
        "regret": regret_rows(split.key_frame_regret) if split.key_frame_regret else [],
        "strides": way_rows(split.window_strides) if split.window_strides else [],
        "steps": way_rows(split.training_steps) if split.training_steps else [],
        "thresholds": split.thresholds,
        "comparisons": comparison_rows(split.comparisons),
    }


def _in_order(cards: Sequence[Card]) -> dict[str, Sequence[Card]]:
    """The best, the first typical and the worst one are shown at once, the others on demand."""
    first = cards
    if len(cards) > NUM_SHOWN_FIRST:
        typical = next((card for card in cards if card.title.startswith(TYPICAL)), cards[len(cards) // 2])
        first = [cards[0], typical, cards[-1]]
    return {"shown_first": first, "shown_on_demand": [card for card in cards if card not in first]}


def _numbers(tree: Any, prefix: str = "") -> dict[str, float]:
    """The numbers in nested metrics, by dotted names."""
    if isinstance(tree, Mapping):
        return {
            name: value
            for key, inner in tree.items()
            for name, value in _numbers(inner, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    return {prefix: tree} if isinstance(tree, int | float) and not isinstance(tree, bool) else {}
