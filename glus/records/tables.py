"""Parquet tables of the schemas, written and read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from glus.errors import ArtifactError
from glus.records.schemas import KEYS, SCHEMA_VERSION, SCHEMAS


def write_table(schema: str, rows: Iterable[Mapping[str, Any]] | pa.Table, path: Path) -> None:
    """Writes rows as one Parquet file of the named schema, beside the target first and renamed when complete.

    Args:
        rows: a table, or dictionaries whose keys are exactly the columns of the schema.

    Raises:
        ValueError: a row lacks a column or holds an unknown one.
    """
    if not isinstance(rows, pa.Table):
        layout = SCHEMAS[schema]
        rows = list(rows)
        for row in rows:
            if row.keys() != set(layout.names):
                raise ValueError(f"{schema}: columns {sorted(row.keys() ^ set(layout.names))} are missing or unknown")
        rows = pa.Table.from_pylist(rows, schema=layout)
    write_row_groups(schema, [rows], path)


def write_row_groups(schema: str, tables: Iterable[pa.Table], path: Path) -> int:
    """Writes tables as the row groups of one Parquet file, of which one at a time is in memory; returns the rows.

    The file is written beside the target first and renamed when complete.
    """
    with TableWriter(schema, path) as writer:
        for table in tables:
            writer.write(table)
    return writer.num_rows


class TableWriter:
    """Writes one Parquet file of the named schema while its rows are made, `ROWS_AT_ONCE` of which are in memory.

    The file is written beside the target first; it is renamed when the `with` block ends, and removed when that fails.

    Attributes:
        num_rows: rows so far.
    """

    ROWS_AT_ONCE = 256  # run lengths of a large noisy mask take tens of kilobytes

    def __init__(self, schema: str, path: Path) -> None:
        self._layout = SCHEMAS[schema]
        self._path = path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}")
        self._waiting: list[Mapping[str, Any]] = []
        self.num_rows = 0

    def __enter__(self) -> Self:
        """Opens the file."""
        words = [name for name in self._layout.names if name != "rle_counts"]  # no run lengths are worth a dictionary
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            self._aside, self._layout, compression="zstd", use_dictionary=words, write_page_checksum=True
        )
        return self

    def add(self, row: Mapping[str, Any]) -> None:
        """Takes one row, a value for each column."""
        self._waiting.append(row)
        if len(self._waiting) == self.ROWS_AT_ONCE:
            self._flush()

    def write(self, table: pa.Table) -> None:
        """Writes a table as a row group."""
        self._writer.write_table(table.select(self._layout.names).cast(self._layout))
        self.num_rows += table.num_rows

    def _flush(self) -> None:
        if self._waiting:
            self.write(pa.Table.from_pylist(self._waiting, schema=self._layout))
            self._waiting = []

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """Closes and renames the file."""
        if failure is None:
            self._flush()
        self._writer.close()
        if failure is None:
            self._aside.replace(self._path)
        else:
            self._aside.unlink()


def read_table(schema: str, path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a Parquet file, or every Parquet file of a folder in name order, of the named schema.

    Raises:
        ArtifactError: nothing there, not a Parquet file, damaged, a file of another schema or version, a column that an
            older build did not write, or a row twice.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    if not files:
        raise ArtifactError(f"{path}: no {schema} table there.")
    tables = []
    for file in files:
        with _open_table(schema, file) as opened, _readable(file):
            missing = set(columns or SCHEMAS[schema].names) - set(opened.schema_arrow.names)
            if missing:
                raise ArtifactError(
                    f"{file}: has no column {', '.join(sorted(missing))}; an older build wrote it."
                    " Run the step that writes it again."
                )
            tables.append(opened.read(columns))
    table = pa.concat_tables(tables)
    _require_unique(schema, table, path)
    return table


def column_names(schema: str, path: Path) -> list[str]:
    """The columns that a Parquet file of the named schema has; one of an older version may have others.

    Raises:
        ArtifactError: not there, not a Parquet file, or a file of another schema or version.
    """
    with _open_table(schema, path) as opened:
        return list(opened.schema_arrow.names)


def _require_unique(schema: str, table: pa.Table, path: Path) -> None:
    """Refuses rows with one key, of which a reader would keep the last."""
    key = [name for name in KEYS.get(schema, ()) if name in table.column_names]
    rows = Counter(zip(*(table[name].to_pylist() for name in key), strict=True))
    if len(rows) < table.num_rows and key:
        row, count = rows.most_common(1)[0]
        place = ", ".join(f"{name} {value}" for name, value in zip(key, row, strict=True))
        raise ArtifactError(f"{path}: {place} stands in {count} rows. Run the step that writes it again.")


def _open_table(schema: str, file: Path) -> pq.ParquetFile:
    """Opens a Parquet file of the named schema; what is read of it is compared with its checksums.

    Raises:
        ArtifactError: not there, not a Parquet file, or a file of another schema or version.
    """
    if not file.is_file():
        raise ArtifactError(f"{file}: no {schema} table there.")
    with _readable(file):
        opened = pq.ParquetFile(file, page_checksum_verification=True)
    metadata = opened.schema_arrow.metadata or {}
    found = metadata.get(b"glus.schema", b"none").decode(), metadata.get(b"glus.schema_version", b"0").decode()
    if found != (schema, str(SCHEMA_VERSION)):
        raise ArtifactError(
            f"{file}: holds schema {found[0]} version {found[1]}, expected {schema} version {SCHEMA_VERSION}."
            " Run the step that writes it again."
        )
    return opened


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Names the file in what Arrow says about damage."""
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactError(
            f"{file}: not a readable Parquet file ({error}). Cut off or damaged; run the step that writes it again."
        ) from error
