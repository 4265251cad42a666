"""The index of a linked store: one Parquet file, of which a group of rows is read at a time.

Legend: R row of the store.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nvg.errors import first_line
from nvg.files import is_local, require_regular
from nvg.format.base import INDEX_FILE, PART_ROW
from nvg.format.index import numbers, with_split
from nvg.format.schema import require_index
from nvg.parts.row_map import Rows
from nvg.store.sharded import Recent
from nvg.store.store_files import StoreFiles


class IndexFile:
    """Some groups of its rows are kept in memory, and of the other rows nothing.

    Its SHA-256 is compared when it is first read, its values group by group; ValueError for others.
    A file that is not on this machine's disk is fetched once and kept as it is, compressed.
    """

    def __init__(self, store: StoreFiles) -> None:
        self.store = store
        self._groups = Recent()

    def tables(self) -> Iterator[pa.Table]:
        """The index, group by group."""
        for group in range(len(self._starts) - 1):
            yield self._groups.of(group, self._group)

    def rows(self, rows: slice) -> pa.Table:
        """Some rows, of as many groups as they lie in."""
        first = int(np.searchsorted(self._starts, rows.start, side="right")) - 1
        found, starts = [], self._starts.tolist()
        for group in range(first, len(starts) - 1):
            if starts[group] >= rows.stop:
                break
            at = max(rows.start - starts[group], 0)
            length = min(rows.stop, starts[group + 1]) - starts[group] - at
            found.append(self._groups.of(group, self._group).slice(at, length))
        return pa.concat_tables(found) if len(found) != 1 else found[0]

    def part_rows(self) -> Rows:
        """The row in its part of every row [R]; no other column is read."""
        parts = []
        with self._opened() as file:
            opened = pq.ParquetFile(file, metadata=self._metadata)
            for group in range(len(self._starts) - 1):
                parts.append(_part_rows(_read(opened, group, [PART_ROW])))
        return np.concatenate([np.empty(0, np.int64), *parts])

    @cached_property
    def _data(self) -> bytes:
        return self.store.read(INDEX_FILE)

    @cached_property
    def _metadata(self) -> Any:
        """The footer of the file that the manifest has the SHA-256 of."""
        if self._digest() != self.store.manifest.index:
            raise ValueError(f"{INDEX_FILE} does not match its checksum")
        try:
            with self._opened() as file:
                metadata = pq.read_metadata(file)
        except OSError as error:
            raise ValueError(f"not a valid Parquet file: {first_line(error)}") from error
        if metadata.num_rows != len(self.store):
            raise ValueError(f"it has {metadata.num_rows} rows, not {len(self.store)}")
        return metadata

    @cached_property
    def _starts(self) -> Rows:
        """The first row of each group, and the one after the last."""
        metadata = self._metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        return np.cumsum([0, *sizes])

    def _group(self, group: int) -> pa.Table:
        first, stop = self._starts[group : group + 2].tolist()
        with self._opened() as file:
            table = _read(pq.ParquetFile(file, metadata=self._metadata), group)
        require_index(table, self.store.manifest, INDEX_FILE, range(first, stop))
        _part_rows(table)
        return with_split(table)

    @property
    def _path(self) -> str:
        return f"{self.store.root}/{INDEX_FILE}"

    def _digest(self) -> str:
        if not is_local(self.store.fs):
            return hashlib.sha256(self._data).hexdigest()
        require_regular(self._path)
        with open(self._path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _opened(self) -> Any:
        if not is_local(self.store.fs):
            return pa.BufferReader(self._data)
        return pa.OSFile(os.fsencode(self._path))  # names need not be UTF-8


def _read(file: Any, group: int, columns: list[str] | None = None) -> pa.Table:
    """Without the threads of pyarrow, which may abort a process that ends soon."""
    try:
        return file.read_row_group(group, columns, use_threads=False)
    except OSError as error:
        raise ValueError(f"not a valid Parquet file: {first_line(error)}") from error


def _part_rows(table: pa.Table) -> Rows:
    if PART_ROW not in table.column_names:
        raise ValueError(f"{INDEX_FILE} has no column {PART_ROW}")
    column = table[PART_ROW]
    if column.type != pa.int64() or column.null_count:
        raise ValueError(f"column {PART_ROW} is {column.type} or has empty values")
    return numbers(table, PART_ROW)
