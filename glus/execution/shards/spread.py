"""Spreads the pieces of a step over whoever works on shards, and asks again where one is lost."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from glus.errors import KilledError
from glus.execution.pieces import StepPieces
from glus.execution.shards.request import Requests, Shard, raise_outcome
from glus.execution.shards.signs import Watch, signs_of_life

logger = logging.getLogger(__name__)

ATTEMPTS = 3  # of each shard
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_SAY_SO = 15.0  # for runs whose pieces are all there
SECONDS_BETWEEN_LINES = 30.0


class RunState(NamedTuple):
    """What a cluster knows of a run: `waiting`, `running` or `ended`, and what it says about the end."""

    word: str
    message: str = ""


class Cluster(Protocol):
    """Whoever starts processes on other machines."""

    def submit(self, shard: Shard, devices: int) -> str:
        """Has `glus shard` run somewhere; returns a name of the run."""

    def states(self, runs: Sequence[str]) -> dict[str, RunState]:
        """The state of each run; one that is left out is as it was."""

    def cancel(self, runs: Sequence[str]) -> None:
        """Ends runs, at work or not."""


@dataclass
class _Run:
    """A shard at work: the pieces, and whether anybody has been seen at them."""

    shard: Shard
    numbers: list[int]
    attempt: int
    watch: Watch | None = None


def spread(
    pieces: StepPieces, num_shards: int, open_cluster: Callable[[], AbstractContextManager[Cluster]]
) -> Iterator[int]:
    """Makes the missing pieces elsewhere; yields the number of each when its file is there.

    A shard whose process is lost is asked for again, with the pieces that it has not made. When this ends, however it
    ends, so do the shards: at once where they can be told, else when the step's signs of life are missed.

    Raises:
        GlusError: what a shard failed with.
        KilledError: a shard was lost `ATTEMPTS` times.
    """
    left = set(pieces.missing())
    requests = Requests(pieces)
    with open_cluster() as cluster:
        ledger = _Ledger(pieces, requests, cluster)
        try:
            with signs_of_life(requests.lease, requests.token):
                for numbers in cut(sorted(left), num_shards):
                    ledger.ask(numbers, 1)
                while ledger.goes_on(left):
                    ledger.look()
                    made = left - set(pieces.missing())
                    yield from sorted(made)
                    left -= made
        finally:
            requests.withdraw()
            cluster.cancel(list(ledger.runs))


def cut(numbers: Sequence[int], count: int) -> list[list[int]]:
    """Neighbours together, in parts that differ by one at most."""
    parts = min(count, len(numbers))
    bounds = [len(numbers) * part // parts for part in range(parts + 1)] if parts else []
    return [list(numbers[start:end]) for start, end in pairwise(bounds)]


class _Ledger:
    """The runs that were asked for and have not ended."""

    def __init__(self, pieces: StepPieces, requests: Requests, cluster: Cluster) -> None:
        self.runs: dict[str, _Run] = {}
        self._pieces, self._requests, self._cluster = pieces, requests, cluster
        self._done_since = math.inf
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def ask(self, numbers: list[int], attempt: int) -> None:
        """Has somebody make these pieces."""
        shard = self._requests.write(numbers)
        self.runs[self._cluster.submit(shard, self._pieces.devices)] = _Run(shard, numbers, attempt)

    def goes_on(self, left: set[int]) -> bool:
        """Whether there is something to wait for: pieces, and then for a while that runs say that they have ended."""
        if not left:
            self._done_since = min(self._done_since, time.monotonic())
        late = time.monotonic() - self._done_since > SECONDS_TO_SAY_SO
        return bool(self.runs) and not late

    def look(self) -> None:
        """Waits a moment, then takes note of what has ended, and asks for what is lost."""
        time.sleep(SECONDS_BETWEEN_LOOKS)
        states = self._cluster.states(list(self.runs))
        for name, state in states.items():
            if state.word == "ended" or (state.word == "running" and self._is_lost(name)):
                self._end(name, state)
        waiting = sum(state.word == "waiting" for state in states.values())
        if waiting and time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            logger.info("%s", f"{waiting} of {len(self.runs)} shards wait for a machine to take them")

    def _is_lost(self, name: str) -> bool:
        run = self.runs[name]
        run.watch = run.watch or Watch(run.shard.sign, run.shard.token)
        return run.watch.is_silent()

    def _end(self, name: str, state: RunState) -> None:
        run = self.runs.pop(name)
        missing = set(self._pieces.missing())
        numbers = [number for number in run.numbers if number in missing]
        if state.word != "ended":
            self._cluster.cancel([name])
        if not numbers:
            return
        raise_outcome(run.shard)
        why = state.message or "without a word; its log may say more"
        if run.attempt == ATTEMPTS:
            raise KilledError(
                f"A shard of {self._pieces.folder} was lost {ATTEMPTS} times, with {len(numbers)} videos to do from"
                f" {self._pieces.names[numbers[0]]} on: {why}. What was finished is kept; start again."
            )
        logger.warning("%s", f"A shard was lost ({why}); its {len(numbers)} unfinished videos are asked for again.")
        self.ask(numbers, run.attempt + 1)
