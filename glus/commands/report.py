"""`glus report`: the results table of the last evaluation, its page and passport, and the paper's tables with ours."""

from __future__ import annotations

import logging
from pathlib import Path

import typer

logger = logging.getLogger(__name__)


def report() -> None:
    """Print the results table; bring the page in reports/ and the paper's tables in ablations/ up to date."""
    from glus.ablations.results import own_runs
    from glus.paths import EVALUATION_METRICS
    from glus.pipeline.passport import complete_passport
    from glus.reporting import print_report

    if not EVALUATION_METRICS.is_file() and own_runs(Path()):  # only tables were made here
        _write_tables()
        return
    _verify()
    complete_passport(Path())
    _write_page()
    print_report(EVALUATION_METRICS)
    _write_tables()


def _write_page() -> None:
    """The page with what is known beside the scores: the steps' cost, several seeds, the paper's numbers."""
    from glus.ablations.report import paper_numbers, seed_spreads
    from glus.manifest import MANIFEST
    from glus.paths import REPORTS
    from glus.pipeline.origin import origin_of
    from glus.pipeline.passport import PASSPORT, cost_of_steps, read_passport
    from glus.pipeline.table import STEPS
    from glus.reporting.page import write_report
    from glus.reporting.run_facts import RunFacts, StepCost

    if not (REPORTS / MANIFEST).is_file():
        return  # metrics are in git, reports are not
    found = cost_of_steps(Path())
    costs = [StepCost.from_record(step.name, found[step.name]) for step in STEPS if step.name in found]
    origin = origin_of(read_passport(PASSPORT), PASSPORT) if PASSPORT.is_file() else None
    unrecorded = [step.name for step in STEPS if step.name not in found]
    facts = RunFacts(costs, unrecorded, origin, seed_spreads(Path()), paper_numbers())
    write_report(Path(), facts)


def _write_tables() -> None:
    from glus.ablations.report import REPORT, write_report

    counts = write_report(Path())
    found = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    typer.echo(f"{REPORT}: the paper's tables and ours ({found})")


def _verify() -> None:
    """Compares the results with what `evaluate` noted in the manifest of its report; warns where they are outdated.

    Raises:
        ArtifactError: other results than those of the report; it is incomplete.
    """
    from glus.errors import ArtifactError
    from glus.evaluation.results import SHA256
    from glus.files import hash_file
    from glus.manifest import MANIFEST, read_manifest
    from glus.paths import EVALUATION_METRICS, REPORTS
    from glus.pipeline.artifacts import changed_inputs

    if not REPORTS.is_dir() or not EVALUATION_METRICS.is_file():
        return  # metrics are in git, reports are not
    manifest = read_manifest(REPORTS)
    found, expected = hash_file(EVALUATION_METRICS), str(manifest.extra.get(SHA256))
    if found != expected:
        raise ArtifactError(
            f"{EVALUATION_METRICS} does not hold the results that {REPORTS} shows: its SHA-256 is {found[:12]},"
            f" {REPORTS / MANIFEST} says {expected[:12]}. Put it back, or run `glus evaluate` (or `dvc repro evaluate`)"
            " again."
        )
    if changed := changed_inputs(manifest):
        logger.warning(
            "%s is outdated: %s changed since it was evaluated. `glus evaluate` (or `dvc repro evaluate`) brings it up"
            " to date.",
            EVALUATION_METRICS,
            " and ".join(changed),
        )
