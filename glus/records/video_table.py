"""A table that is read one video at a time, and stays on disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from glus.records.tables import _open_table, _readable


class VideoTable:
    """A Parquet table of which no more is in memory than the row groups that a video may lie in.

    Args:
        schema: its name in `glus.records.schemas`.
        file: where it lies; opened when something is asked for.
    """

    def __init__(self, schema: str, file: Path) -> None:
        self._schema = schema
        self.file = file

    @property
    def num_rows(self) -> int:
        """Rows of all videos."""
        return int(self._opened.metadata.num_rows)

    def rows(self, video_id: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Values of the columns, in each row of a video.

        Raises:
            ArtifactError: the table is missing, damaged or of another schema.
        """
        first, last = self._bounds.T
        groups = np.flatnonzero((first <= video_id) & (video_id <= last)).tolist()
        with _readable(self.file):  # in one thread: a forked process has no other
            found = self._opened.read_row_groups(groups, ["video_id", *columns], use_threads=False)
        # not filtered by Arrow, whose functions take 27 MB of every process that uses one
        for owner, *values in zip(*(found[name].to_pylist() for name in ("video_id", *columns)), strict=True):
            if owner == video_id:
                yield tuple(values)

    @cached_property
    def _opened(self) -> pq.ParquetFile:
        return _open_table(self._schema, self.file)

    @cached_property
    def _bounds(self) -> np.ndarray:
        """First and last video of each row group, str [G, 2]: the same one in ours, others' files may mix them."""
        metadata, column = self._opened.metadata, self._opened.schema_arrow.names.index("video_id")
        statistics = (metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups))
        any_video = ("", chr(sys.maxunicode))
        bounds = [(each.min, each.max) if each and each.has_min_max else any_video for each in statistics]
        return np.array(bounds, dtype=str).reshape(-1, 2)
