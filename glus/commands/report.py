"""`glus report`: the results table of the last evaluation."""

from __future__ import annotations


def report() -> None:
    """Print the results table and the path of the HTML report."""
    from glus.paths import EVALUATION_METRICS
    from glus.reporting import print_report

    print_report(EVALUATION_METRICS)
