"""One measure by the key frame, and what a selection of key frames is worth by it."""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_GAP = 1.0  # points of J&F between first and oracle, below which no share of it is given


@dataclass(frozen=True)
class ByKeyFrame:
    """One measure by the key frame: the first, a random, the selected, the best one; None where it is not known."""

    first: float | None
    random: float | None
    selected: float
    oracle: float | None

    @property
    def regret(self) -> float | None:
        """What the selected frame lacks of the best one."""
        return None if self.oracle is None else self.oracle - self.selected

    @property
    def gap_closed(self) -> float | None:
        """Share of the way from first to oracle that selection goes, of J&F in percent; None below `SMALLEST_GAP`."""
        if self.first is None or self.oracle is None or self.oracle - self.first < SMALLEST_GAP:
            return None
        return (self.selected - self.first) / (self.oracle - self.first)
