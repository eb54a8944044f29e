"""What `evaluate` says of each split, and `metrics/evaluate.json`, which holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glus.errors import ArtifactError
from glus.files import write_json
from glus.metrics.compared_ways import WayScores
from glus.metrics.failures import Losses
from glus.metrics.grouping import Grouped
from glus.metrics.key_frames import KeyFrameRegret
from glus.metrics.mean_logit import ThresholdScores
from glus.metrics.results import JF, ProtocolScores


@dataclass(frozen=True)
class FailureSplit:
    """Where J&F is lost, and the bounds on IoU that tell the kinds of failures (`glus.metrics.failures`)."""

    losses: Grouped[Losses]
    found: float
    fits: float

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FailureSplit:
        """What `to_json` wrote."""
        return cls(Grouped.from_json(values, "families", Losses.from_json), values["found"], values["fits"])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**self.losses.to_json("families"), "found": self.found, "fits": self.fits}


@dataclass(frozen=True)
class PredictedSplit:
    """A split without ground truth: predicted, not scored."""

    num_expressions: int

    @property
    def protocol(self) -> str:
        """What stands in the place of a protocol."""
        return "no ground truth"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"protocol": self.protocol, "num_expressions": self.num_expressions}


@dataclass(frozen=True)
class ScoredSplit:
    """A split with ground truth.

    Attributes:
        scores: the protocol's numbers.
        failures: where J&F is lost; None in files of versions that did not say.
        comparisons: J in percent of what was predicted in several ways, by name.
        key_frame_regret: J&F by key frame; None where masks were propagated from the selected frames alone.
        window_strides: J&F by window stride; None where it was not compared.
        training_steps: J&F by the step of training whose model predicted; None where it was not compared.
        thresholds: scores by threshold on the mean logit; none where every expression has a target, or none has.
    """

    scores: ProtocolScores
    failures: FailureSplit | None = None
    comparisons: Mapping[str, float] = field(default_factory=dict)
    key_frame_regret: Grouped[KeyFrameRegret] | None = None
    window_strides: Grouped[WayScores] | None = None
    training_steps: Grouped[WayScores] | None = None
    thresholds: Sequence[ThresholdScores] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ScoredSplit:
        """What `to_json` wrote."""
        failures, regret = values.get("failures"), values.get("key_frame_regret")
        strides, steps = values.get("window_strides"), values.get("training_steps")
        return cls(
            ProtocolScores.from_json(values),
            FailureSplit.from_json(failures) if failures else None,
            values.get("comparisons", {}),
            Grouped.from_json(regret, "families", KeyFrameRegret.from_json) if regret else None,
            Grouped.from_json(strides, "families", WayScores.from_json) if strides else None,
            Grouped.from_json(steps, "families", WayScores.from_json) if steps else None,
            [ThresholdScores.from_json(row) for row in values.get("thresholds", ())],
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data, without what is not known."""
        values = self.scores.to_json()
        if self.failures:
            values["failures"] = self.failures.to_json()
        if self.comparisons:
            values["comparisons"] = dict(self.comparisons)
        if self.key_frame_regret:
            values["key_frame_regret"] = self.key_frame_regret.to_json("families")
        if self.window_strides:
            values["window_strides"] = self.window_strides.to_json("families")
        if self.training_steps:
            values["training_steps"] = self.training_steps.to_json("families")
        if self.thresholds:
            values["thresholds"] = [row.to_json() for row in self.thresholds]
        return values


SplitResult = ScoredSplit | PredictedSplit
Results = dict[str, dict[str, SplitResult]]  # dataset -> split

SHA256 = "results_sha256"  # of the file, in the manifest of the report that was made with it


def write_results(results: Results, path: Path) -> None:
    """Writes `metrics/evaluate.json`."""
    write_json(
        {dataset: {split: result.to_json() for split, result in splits.items()} for dataset, splits in results.items()},
        path,
    )


def read_results(path: Path) -> Results:
    """Reads `metrics/evaluate.json`.

    Raises:
        ArtifactError: not there, not JSON, or not what `write_results` writes.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            dataset: {split: _split_result(values) for split, values in splits.items()}
            for dataset, splits in content.items()
        }
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} does not exist: there are no results yet. Run `make demo`, `dvc repro` or, if everything before it"
            " is done, `glus evaluate`."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is not valid JSON ({error}); run `glus evaluate` again.") from error
    except KeyError as error:
        raise ArtifactError(f"{path} lacks {error} of a split's results; run `glus evaluate` again.") from error
    except (AttributeError, TypeError) as error:
        raise ArtifactError(
            f"{path} holds something else than results by dataset and split ({error}); run `glus evaluate` again."
        ) from error


def _split_result(values: Mapping[str, Any]) -> SplitResult:
    return ScoredSplit.from_json(values) if JF in values else PredictedSplit(values["num_expressions"])
