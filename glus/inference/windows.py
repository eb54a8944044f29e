"""Which frames one conversation shows and which of them it answers for (paper 4.1, B.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Consecutive steps of a pass that one conversation shows.

    Attributes:
        first: its oldest step.
        end: the step after its newest.
        answers: how many steps, the newest ones, it answers for.
    """

    first: int
    end: int
    answers: int

    def __len__(self) -> int:
        """Number of query frames."""
        return self.end - self.first


def plan_windows(num_steps: int, length: int, stride: int, *, apart: bool) -> Iterator[Window]:
    """Windows of a pass over `num_steps` frames; every step is answered by exactly one.

    The first window answers for all its frames: each [SEG] sees only what stands before it, so its answers are those
    of the shorter windows that the paper starts with. The last one may answer for fewer than `stride` frames.

    Args:
        length: query frames in a window, Nq.
        stride: frames that a window answers for, 1 to Nq; 1 in the paper.
        apart: give every answer a window of its own, as a prompt that ends in another token than a [SEG] demands.
    """
    end = 0
    while end < num_steps:
        answers = min(1 if apart else length if end == 0 else stride, num_steps - end)
        end += answers
        yield Window(max(0, end - length), end, answers)
