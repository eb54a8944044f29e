"""Scores: J and F of mask sequences, the benchmarks' ways of averaging them, and trivial baselines. No torch."""

from glus.metrics.boundary import boundary_f
from glus.metrics.region import jaccard

__all__ = ["boundary_f", "jaccard"]
