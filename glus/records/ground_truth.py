"""What predictions are scored against, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from glus.records.video import Expression, Video


class GroundTruth(Protocol):
    """A split with its masks; `glus.records.split.StagedSplit` is one."""

    @property
    def dataset(self) -> str:
        """Name of the dataset."""

    @property
    def split(self) -> str:
        """Name of the split."""

    @property
    def videos(self) -> Mapping[str, Video]:
        """Videos by id."""

    @property
    def expressions(self) -> Mapping[str, list[Expression]]:
        """Expressions of each video."""

    def mask_rles(self, video_id: str) -> Mapping[str, Mapping[int, str]]:
        """Annotation id -> frame index -> run lengths."""
