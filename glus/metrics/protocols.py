"""The benchmarks' protocols by name and version: from scores of expressions to the numbers of a split.

Every number carries the name of its protocol and the version of its dataset. The protocols that score objects of label
maps are in `glus.metrics.davis`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from glus.errors import InputError
from glus.metrics import lmms_eval, mose, revos
from glus.metrics.grouping import Grouped, by_family, percent
from glus.metrics.presence import presence
from glus.metrics.results import ProtocolScores, Scores
from glus.metrics.scoring import ExpressionScore, Measures

MEVIS = "mevis"


def mean_over_expressions(scores: Sequence[ExpressionScore]) -> Grouped[Scores]:
    """Frames, then a plain mean over all expressions, whatever video; J&F = (mean J + mean F) / 2.

    Returns:
        Scores with their baselines, and the same for each family with its referent accuracy.

    Raises:
        InputError: there is nothing to average.
    """
    if not scores:
        raise InputError("There are no expressions to score.")
    return Grouped(_mean_scores(scores), by_family(scores, lambda score: score.family, _family))


@dataclass(frozen=True)
class Protocol:
    """How a benchmark's numbers come from the scores of its expressions.

    Attributes:
        version: counts the changes of what we compute under this name.
        datasets: those whose results are published so, none where it may be used for all; the first protocol that
            lists a dataset is its default.
        rule: what is averaged, in words.
        average: from all expressions of a split to its scores and those of its families.
        further: measures of an expression that no other protocol has.
        caution: what the benchmark's own code does otherwise; empty where nothing is known.
    """

    name: str
    version: int
    datasets: tuple[str, ...]
    rule: str
    average: Callable[[Sequence[ExpressionScore]], Grouped[Scores]]
    further: Measures | None = None
    caution: str = ""

    def summarise(self, scores: Sequence[ExpressionScore]) -> Grouped[Scores]:
        """`average`, and beside it when and whether targets were found (`glus.metrics.presence`). Raises as it."""
        averaged = self.average(scores)
        groups = {
            name: of_group.beside(presence([score for score in scores if score.family == name]))
            for name, of_group in averaged.groups.items()
        }
        return Grouped(averaged.overall.beside(presence(scores)), groups)


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
        Protocol("long_rvos", 1, ("long_rvos",), PLAIN_MEAN, mean_over_expressions),
        Protocol(
            mose.NAME,
            1,
            (),
            f"{PLAIN_MEAN}; those that begin with mose_ leave out the first and the last frame",
            mean_over_expressions,
            mose.measures,
            "its scorer takes objects of label maps, here each expression is one. J and F are DAVIS's; how those that"
            " begin with mose_ differ is in docs/evaluation.md",
        ),
        Protocol(
            lmms_eval.NAME,
            1,
            (),
            PLAIN_MEAN,
            mean_over_expressions,
            lmms_eval.measures,
            "its own mean leaves out videos that failed; here they are missing. Its HOTA is the root of DetA alone,"
            " without AssA, so no other HOTA compares with it",
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


def dataset_version(dataset: str, split: str, num_expressions: int, release: str) -> str:
    """The release of a split, as its number of expressions tells.

    Where no release has that number, the number itself stands there, behind the release that its list was read as
    (`release`, empty where that is not known): videos were left out, or it is a set of one's own.
    """
    counted = f"{release}, {num_expressions} expressions" if release else f"{num_expressions} expressions"
    return RELEASES.get((dataset, split), {}).get(num_expressions, counted)


def average(
    protocol: Protocol, dataset: str, split: str, scores: Sequence[ExpressionScore], release: str = ""
) -> ProtocolScores:
    """The numbers of a split, with the names of the protocol and of the dataset's version. Raises as the protocol."""
    averaged = protocol.summarise(scores)
    overall = replace(averaged.overall, baselines=_baselines(scores))
    return ProtocolScores(
        replace(averaged, overall=overall),
        protocol.name,
        protocol.version,
        dataset_version(dataset, split, len(scores), release),
    )


def _family(scores: Sequence[ExpressionScore]) -> Scores:
    judged = [score.referent_correct for score in scores if score.referent_correct is not None]
    return replace(_mean_scores(scores), referent_accuracy=sum(judged) / len(judged) if judged else None)


def _mean_scores(scores: Sequence[ExpressionScore]) -> Scores:
    j, f = percent(score.mean_j for score in scores), percent(score.mean_f for score in scores)
    return Scores(j, f, (j + f) / 2, len(scores), _further(scores), baselines=_baselines(scores))


def _further(scores: Sequence[ExpressionScore]) -> dict[str, float]:
    """The mean of each measure that the protocol alone has, over the expressions to which it applies."""
    names = dict.fromkeys(name for score in scores for name in score.further)
    return {name: percent(score.further[name] for score in scores if name in score.further) for name in names}


def _baselines(scores: Sequence[ExpressionScore]) -> dict[str, float]:
    """J&F of each baseline, over the expressions that have it."""
    names = dict.fromkeys(name for score in scores for name in score.baselines)
    baselines = {name: [score.baselines[name] for score in scores if name in score.baselines] for name in names}
    return {
        name: (percent(j for j, _ in pairs) + percent(f for _, f in pairs)) / 2 for name, pairs in baselines.items()
    }
