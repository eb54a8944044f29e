"""Masks on their way from the raw files to the table: taken in the files' order, given back video by video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pyarrow as pa

from glus.records.schemas import SCHEMAS
from glus.staging.files.mask_files import Row

_LAYOUT = pa.schema([field for field in SCHEMAS["masks"] if field.name not in ("dataset", "split")])


class MaskSpool:
    """Rows of the table `masks`, without dataset and split, in a file instead of in memory.

    The file has no name, so it is gone with the process, however that ends.

    Args:
        folder: on a disk with room for all masks of a split.
    """

    def __init__(self, folder: Path) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115, it lives as long as the spool
        self._writer = pa.ipc.new_file(self._file, _LAYOUT)
        self._batches: dict[str, list[int]] = {}
        self._num_batches = 0

    def add(self, video_id: str, rows: list[Row]) -> None:
        """Takes rows of one video, in any order."""
        if rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=_LAYOUT))
            self._batches.setdefault(video_id, []).append(self._num_batches)
            self._num_batches += 1

    def tables(self, video_ids: Iterable[str]) -> Iterator[pa.Table]:
        """The rows of each video that has any, sorted by annotation and frame; nothing can be added afterwards."""
        self._writer.close()
        batches = pa.ipc.open_file(pa.PythonFile(self._file, mode="r"))
        for video_id in video_ids:
            if numbers := self._batches.get(video_id):
                rows = pa.Table.from_batches([batches.get_batch(number) for number in numbers])
                yield rows.sort_by([("annotation_id", "ascending"), ("frame_index", "ascending")])
