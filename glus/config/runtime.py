"""Sections `tracking` and `compute`: where and how wide; neither changes an artifact."""

from __future__ import annotations

from typing import Literal

from glus.config.base import Count, Positive, Section


class TrackingConfig(Section):
    """MLflow; changes no artifact."""

    enabled: bool
    experiment: str
    variant: str  # name under which this configuration is compared


class ComputeConfig(Section):
    """Where and how wide; changes no artifact beyond float rounding."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    processes: Positive  # that train, segment and score side by side on one machine; one for each GPU
    threads: Positive  # torch's own threads per process
    workers: Count  # that load data, for each training process, and that check it in `stage`
