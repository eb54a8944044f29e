"""What a page says of the run and of others, beside its scores: origin, cost, several seeds, the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepCost:
    """What the last run of a step took: seconds, CPU seconds of all its processes, MiB of the largest one."""

    step: str
    wall_s: float
    cpu_s: float
    peak_memory_mib: int

    @classmethod
    def from_record(cls, step: str, record: Mapping[str, Any]) -> StepCost:
        """From the numbers that a step's record has (`runs/<step>.json`)."""
        peaks = record["peak_memory_mib"], record.get("peak_memory_largest_child_mib", 0)
        return cls(step, record["wall_s"], record["cpu_s"] + record["cpu_children_s"], max(peaks))


@dataclass(frozen=True)
class Origin:
    """What the numbers of a run came from, in words; digests are cut short, what is not known is empty.

    Attributes:
        commit: and how many files differed from it.
        lock: SHA-256 of `dvc.lock`.
        data: MD5 of the staged data.
        weights: of trained models and given weights.
        protocols: name and version of each split's protocol, and the release of its data.
        machine: the one that scored.
        passport: the file that says all of it, and that `glus replay` takes.
    """

    seed: int
    commit: str
    lock: str
    data: str
    weights: str
    protocols: str
    machine: str
    passport: str


@dataclass(frozen=True)
class SeedSpread:
    """J&F of a variant on one split over its seeds, in words (`55.0 (± 1.2, 3 seeds)`)."""

    table: str
    row: str
    split: str
    jf: str


@dataclass(frozen=True)
class PaperNumber:
    """J&F of a method on one split, percent, as the paper gives it."""

    table: str
    row: str
    split: str
    jf: float


@dataclass(frozen=True)
class RunFacts:
    """All of it; what is not known is empty.

    Attributes:
        costs: in the order of the steps.
        unrecorded: steps whose cost is not known.
        origin: None where no passport lies there.
    """

    costs: Sequence[StepCost] = ()
    unrecorded: Sequence[str] = ()
    origin: Origin | None = None
    variants: Sequence[SeedSpread] = ()
    paper: Sequence[PaperNumber] = ()

    @property
    def wall_s(self) -> float:
        """Of all steps together."""
        return sum(cost.wall_s for cost in self.costs)

    @property
    def cpu_s(self) -> float:
        """Of all steps together."""
        return sum(cost.cpu_s for cost in self.costs)

    @property
    def peak_memory_mib(self) -> int:
        """Of the step that needed most."""
        return max((cost.peak_memory_mib for cost in self.costs), default=0)


def machine_in_words(hardware: Mapping[str, Any]) -> str:
    """A passport's `hardware` in one line; empty where nothing is known."""
    if not hardware:
        return ""
    processors = f"{hardware['cpus']} processors" + (f" ({hardware['cpu']})" if hardware["cpu"] else "")
    return f"{processors}, {', '.join(hardware['gpus']) or 'no GPU'}"
