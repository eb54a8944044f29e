"""Scores: J and F of mask sequences, the benchmarks' ways of averaging them, and trivial baselines. No torch."""

from glus.metrics.boundary import BoundaryMatches, boundary_f, boundary_matches
from glus.metrics.region import jaccard, jaccard_rle

__all__ = ["BoundaryMatches", "boundary_f", "boundary_matches", "jaccard", "jaccard_rle"]
