"""The benchmarks' protocols by name and version: from scores of expressions to the numbers of a split.

Every number carries the name of its protocol and the version of its dataset. The protocols that score objects of label
maps are in `glus.metrics.davis`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glus.errors import InputError
from glus.metrics import revos
from glus.metrics.scoring import ExpressionScore
from glus.records.split import Video

MEVIS = "mevis"
NO_GROUND_TRUTH = "no ground truth"

# Comparison shown: family, the way it was predicted for the comparison, names of (this way, the other way).
COMPARISONS = (
    ("greyed", "memory_off", "greyed_memory_on", "greyed_memory_off"),
    ("starts_grey", "first_frame", "starts_grey_key_frame", "starts_grey_first_frame"),
)


def mevis(scores: Sequence[ExpressionScore]) -> dict[str, Any]:
    """MeViS's averaging, named so. Returns and raises as `mean_over_expressions`."""
    return {**mean_over_expressions(scores), "protocol": MEVIS}


def mean_over_expressions(scores: Sequence[ExpressionScore]) -> dict[str, Any]:
    """Frames, then a plain mean over all expressions, whatever video; J&F = (mean J + mean F) / 2. In percent.

    Returns:
        `J`, `F`, `JF`, `num_expressions`, `baselines`, and the same for each family with its `referent_accuracy`
        (0..1: the share of expressions of which the most covered object is a right one).

    Raises:
        InputError: there is nothing to average.
    """
    if not scores:
        raise InputError("There are no expressions to score.")
    names = sorted({score.family for score in scores if score.family is not None})
    families = {name: _family([score for score in scores if score.family == name]) for name in names}
    return {**_mean_scores(scores), "families": families}


@dataclass(frozen=True)
class Protocol:
    """How a benchmark's numbers come from the scores of its expressions.

    Attributes:
        version: counts the changes of what we compute under this name.
        datasets: those whose results are published so; the first protocol that lists a dataset is its default.
        rule: what is averaged, in words.
        average: from all expressions of a split to `J`, `F`, `JF` in percent and what else the benchmark reports.
    """

    name: str
    version: int
    datasets: tuple[str, ...]
    rule: str
    average: Callable[[Sequence[ExpressionScore]], dict[str, Any]]


PLAIN_MEAN = "frames, then a plain mean over expressions"
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(MEVIS, 1, ("mevis", "synthetic", "own", "lvvis"), PLAIN_MEAN, mean_over_expressions),
        Protocol("refer_youtube_vos", 1, ("refer_youtube_vos",), PLAIN_MEAN, mean_over_expressions),
        Protocol("reasonvos", 1, ("reasonvos",), PLAIN_MEAN, mean_over_expressions),
        Protocol("ref_davis17_per_expression", 1, ("ref_davis17",), PLAIN_MEAN, mean_over_expressions),
        Protocol(
            "revos",
            1,
            ("revos",),
            "frames, then expressions rounded to 2 decimals, then referring and reasoning apart; overall is their mean",
            revos.average,
        ),
    )
}

# A release shows in its number of expressions, whatever its files were renamed to.
RELEASES = {
    ("mevis", "train"): {23051: "v1", 27502: "v2"},
    ("mevis", "valid_u"): {793: "v1", 907: "v2"},
    ("mevis", "valid"): {2236: "v1", 2523: "v2"},
    ("refer_youtube_vos", "train"): {12913: "2020"},
    ("refer_youtube_vos", "valid"): {834: "2020, 202 videos"},
    ("ref_davis17", "train"): {576: "2018"},
    ("ref_davis17", "valid"): {244: "2018"},
    ("reasonvos", "test"): {458: "2024-12-26"},
}


def protocol_of(dataset: str) -> Protocol:
    """The protocol that a dataset's results are published with; a plain mean where there is none."""
    return next((item for item in PROTOCOLS.values() if dataset in item.datasets), PROTOCOLS[MEVIS])


def dataset_version(dataset: str, split: str, num_expressions: int, release: str = "") -> str:
    """The release of a split, as its number of expressions tells.

    Where no release has that number, the number itself stands there, behind the release that its list was read as
    (`release`, empty where that is not known): videos were left out, or it is a set of one's own.
    """
    counted = f"{release}, {num_expressions} expressions" if release else f"{num_expressions} expressions"
    return RELEASES.get((dataset, split), {}).get(num_expressions, counted)


def average(
    protocol: Protocol, dataset: str, split: str, scores: Sequence[ExpressionScore], release: str = ""
) -> dict[str, Any]:
    """The numbers of a split, with the names of the protocol and of the dataset's version. Raises as the protocol."""
    return {
        "baselines": _baselines(scores),
        **protocol.average(scores),
        "protocol": protocol.name,
        "protocol_version": protocol.version,
        "dataset_version": dataset_version(dataset, split, len(scores), release),
    }


def _family(scores: Sequence[ExpressionScore]) -> dict[str, Any]:
    judged = [score.referent_correct for score in scores if score.referent_correct is not None]
    accuracy = {"referent_accuracy": sum(judged) / len(judged)} if judged else {}
    return _mean_scores(scores) | accuracy


def _mean_scores(scores: Sequence[ExpressionScore]) -> dict[str, Any]:
    j, f = _percent(score.mean_j for score in scores), _percent(score.mean_f for score in scores)
    return {"J": j, "F": f, "JF": (j + f) / 2, "num_expressions": len(scores), "baselines": _baselines(scores)}


def _baselines(scores: Sequence[ExpressionScore]) -> dict[str, dict[str, float]]:
    names = list(dict.fromkeys(name for score in scores for name in score.baselines))
    baselines = {name: [score.baselines[name] for score in scores if name in score.baselines] for name in names}
    return {
        name: {"JF": (_percent(j for j, _ in pairs) + _percent(f for _, f in pairs)) / 2}
        for name, pairs in baselines.items()
    }


def grey_frame_comparisons(scores: Iterable[ExpressionScore], videos: Mapping[str, Video]) -> dict[str, float]:
    """J in percent on the frames without colour: with and without memory, from the key frame and from the first one.

    Frames, then a plain mean over the family's expressions; comparisons that were not predicted are left out.
    """
    scores = list(scores)
    result = {}
    for family, other_way, this_name, other_name in COMPARISONS:
        compared = [
            (score, list(videos[score.video_id].grey_frames))
            for score in scores
            if score.family == family and other_way in score.comparisons and videos[score.video_id].grey_frames
        ]
        if compared:
            result[this_name] = _percent(np.mean(np.take(score.j, frames)) for score, frames in compared)
            result[other_name] = _percent(
                np.mean(np.take(score.comparisons[other_way], frames)) for score, frames in compared
            )
    return result


def _percent(values: Iterable[float | np.floating]) -> float:
    return 100 * float(np.mean([*values]))
