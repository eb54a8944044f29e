"""The pictures of one split: which expressions are shown, and what stands beside what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from glus.evaluation.predictions import Predictions, expressions_by_key
from glus.files import write_json
from glus.metrics.failures import FrameFailures
from glus.metrics.scoring import ExpressionScore, Track
from glus.records.split import StagedSplit
from glus.records.video import Key
from glus.reporting.cards import AskedClip, Card, ShownExpression, draw_asked, draw_card
from glus.reporting.grey_frames import GREY_COMPARISONS, GreyComparison

OVERLAYS, CARDS = "overlays", "cards.json"  # in the folder of a split: pictures, and what they show
MOST_ASKED = 6
TYPICAL = "typical"
QUANTILES = (0.5, 0.25, 0.75)  # of a family's J&F: what is typical of it


class Gallery:
    """Draws the cards of one split.

    Args:
        split: where frames and ground truth come from.
        predictions: the masks.
        failures: how they fail; empty where there is no ground truth.
        folder: where the pictures are written.
    """

    def __init__(
        self, split: StagedSplit, predictions: Predictions, failures: Mapping[Key, FrameFailures], folder: Path
    ) -> None:
        self.split, self.predictions, self.failures, self.folder = split, predictions, failures, folder
        self.expressions = expressions_by_key(split)

    def write_all(self, scores: Sequence[ExpressionScore] | None, number: int) -> None:
        """Draws all cards of the split, and writes beside their folder which there are.

        Args:
            scores: None where there is no ground truth.
            number: of examples.
        """
        chosen: Sequence[tuple[str, Key, ExpressionScore | None]] = (
            [("predicted", key, None) for key in self._spread_keys(number)]
            if scores is None
            else [(title, score.key, score) for title, score in choose_examples(scores, number)]
        )
        examples = [self._card(title, f"example-{at}", key, score) for at, (title, key, score) in enumerate(chosen)]
        drawn = {
            "asked": self._asked(chosen[len(chosen) // 2][1]).to_json() if chosen else None,
            "comparisons": [card.to_json() for card in self._comparisons(scores or [])],
            "examples": [card.to_json() for card in examples],
        }
        write_json(drawn, self.folder.with_name(CARDS))

    def _asked(self, key: Key) -> AskedClip:
        """Sentences about the clip of one of them, that one first."""
        about = [expression for found, expression in self.expressions.items() if found[0] == key[0] and found != key]
        return draw_asked([self.expressions[key], *about][:MOST_ASKED], self.split, self.folder / "asked.jpg")

    def _spread_keys(self, number: int) -> list[Key]:
        """Expressions at equal distances in the table, where there is no ground truth to rank them by."""
        keys = list(self.expressions)
        return [keys[at] for at in np.linspace(0, len(keys) - 1, min(number, len(keys))).astype(int)]

    def _comparisons(self, scores: Sequence[ExpressionScore]) -> list[Card]:
        """One strip per comparison: the expression with the median gain, neither the best nor the worst."""
        cards = []
        for comparison in GREY_COMPARISONS:
            way = comparison.way
            ranked = sorted(comparison.scores(scores), key=lambda score: sum(score.j) - sum(score.comparisons[way]))
            if ranked:
                median = ranked[len(ranked) // 2]
                title = f"{comparison.label} beside {way.replace('_', ' ')}: the expression of median gain"
                cards.append(self._card(title, way, median.key, median, comparison=comparison))
        return cards

    def _card(
        self,
        title: str,
        file: str,
        key: Key,
        score: ExpressionScore | None = None,
        *,
        comparison: GreyComparison | None = None,
    ) -> Card:
        answers: dict[str, Track] = {comparison.label if comparison else "predicted": self.predictions.tracks[key]}
        if comparison:
            answers[comparison.way] = self.predictions.comparisons[comparison.way][key]
        shown = ShownExpression(
            self.expressions[key],
            answers,
            score,
            self.failures.get(key),
            self.predictions.frame_scores.get(key, ()),
            self.predictions.key_frames.get(key),
        )
        return draw_card(title, shown, self.split, self.folder / f"{file}.jpg")


def choose_examples(scores: Sequence[ExpressionScore], number: int) -> list[tuple[str, ExpressionScore]]:
    """Best, typical (quantiles of each family in turn) and worst expressions, with what each stands for."""
    ranked = sorted(scores, key=lambda score: -score.jf)
    extremes = min(max(1, number // 4), len(ranked) // 2)
    best = [("best", score) for score in ranked[:extremes]]
    worst = [("worst", score) for score in ranked[len(ranked) - extremes :]]
    taken = {id(score) for _, score in best + worst}
    typical: list[tuple[str, ExpressionScore]] = []
    families = sorted({score.family or "" for score in scores})
    for quantile in QUANTILES:
        for family in families:
            members = [score for score in ranked if (score.family or "") == family]
            member = members[int(quantile * (len(members) - 1))]
            if id(member) not in taken and len(best + typical + worst) < number:
                taken.add(id(member))
                typical.append((f"{TYPICAL} of {family}" if family else TYPICAL, member))
    return (best + typical + worst)[:number]
