"""`chunks.parquet`: rows of each chunk by split and status, so that nobody reads an index to count.

Legend: R row of the store.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.format.base import COUNTS, ERROR, OK, Split, parquet_bytes, read_parquet
from nvg.format.index import arrow_numbers, has_status, in_split, numbers
from nvg.format.manifest import Manifest

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Counts = dict[str, Numbers]
"""By `all_of` and `ok_of` a split: rows of each chunk, and those of them that have tokens."""


def all_of(split: Split) -> str:
    """The column of all rows of a split."""
    return split.value


def ok_of(split: Split) -> str:
    """The column of the rows of a split that have tokens."""
    return f"{split.value}_ok"


COLUMNS = tuple(name(split) for split in Split for name in (all_of, ok_of))


def counts_of(part: pa.Table) -> dict[str, int]:
    """The counts of some index rows."""
    is_ok, found = has_status(part, OK), {}
    for split in Split:
        is_own = in_split(part, split)
        found[all_of(split)] = int(is_own.sum())
        found[ok_of(split)] = int((is_own & is_ok).sum())
    return found


def joined(counts: Sequence[dict[str, int]]) -> Counts:
    """Those of chunks, one after another."""
    return {name: np.array([each[name] for each in counts], np.int64) for name in COLUMNS}


def counts_bytes(counts: Counts) -> bytes:
    """The file."""
    table = pa.table({name: arrow_numbers(counts[name].astype(np.int32)) for name in COLUMNS})
    return parquet_bytes([table], table.schema)


def read_counts(data: bytes, chunks: int) -> Counts:
    """What a file of so many chunks says; ValueError for another."""
    table = read_parquet(data, chunks)
    if len(table) != chunks or table.column_names != list(COLUMNS):
        raise ValueError(f"{COUNTS} is not of {chunks} chunks")
    if any(column.type != pa.int32() or column.null_count for column in table.columns):
        raise ValueError(f"{COUNTS} has a column that is not all int32")
    return {name: numbers(table, name).astype(np.int64) for name in COLUMNS}


def errors_in(counts: Counts) -> int:
    """Error rows of all chunks."""
    return sum(int((counts[all_of(split)] - counts[ok_of(split)]).sum()) for split in Split)


def manifest_faults(counts: Counts, manifest: Manifest) -> list[str]:
    """What a manifest counts otherwise than the index, which has these counts."""
    found = {ERROR: errors_in(counts), "val": int(counts[all_of(Split.VAL)].sum())}
    wanted = {ERROR: manifest.errors, "val": manifest.val_rows}
    return [
        f"index has {found[name]} {name} rows, the manifest {wanted[name]}"
        for name in found
        if found[name] != wanted[name]
    ]
