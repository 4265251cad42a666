"""A chunk that waits for the others of its shard: one Parquet file with rows, tokens and record.

Legend: R row of the store.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nvg.format.base import INDEX_SCHEMA, Arrays, read_parquet
from nvg.format.record import CommitRecord

STAGING = "staging"  # the folder
RECORD = b"nvg"  # the key of the file's metadata
ARRAY = "array."  # before the name of an array, in that of its column
Kinds = Mapping[str, tuple[str, tuple[int, ...]]]
"""Dtype and shape [R, ...] of each array."""


def staged_folder(shard: int) -> str:
    """Where chunks of a shard wait."""
    return f"{STAGING}/{shard:05d}"


def staged_name(shard: int, chunk: int) -> str:
    """Where a chunk waits."""
    return f"{staged_folder(shard)}/{chunk:07d}.parquet"


def staged_bytes(arrays: Arrays, index: pa.Table, record: CommitRecord) -> bytes:
    """The file: a column for each of the index, then one of bytes for each array [R, ...]."""
    table = index.select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA)
    for name, values in arrays.items():
        data = pa.py_buffer(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
        width = values.dtype.itemsize * int(np.prod(values.shape[1:]))
        column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, data])
        table = table.append_column(ARRAY + name, column)
    table = table.replace_schema_metadata({RECORD: record.to_bytes()})
    sink = pa.BufferOutputStream()
    kinds = {name: "none" if name.startswith(ARRAY) else "zstd" for name in table.column_names}
    pq.write_table(table, sink, compression=kinds, use_dictionary=["class", "status", "split"])
    found: bytes = sink.getvalue().to_pybytes()
    return found


def read_staged(data: bytes, kinds: Kinds, most: int) -> tuple[Arrays, pa.Table, bytes]:
    """(arrays, index rows, bytes of the record) of a file; ValueError for another."""
    table = read_parquet(data, most)
    record = (table.schema.metadata or {}).get(RECORD)
    if record is None:
        raise ValueError("it has no commit record")
    arrays: dict[str, Any] = {}
    for name, (kind, shape) in kinds.items():
        width = np.dtype(kind).itemsize * int(np.prod(shape[1:]))
        if ARRAY + name not in table.column_names:
            raise ValueError(f"it has no {name}")
        column = table[ARRAY + name]
        if column.type != pa.binary(width) or column.null_count:
            raise ValueError(f"its {name} is {column.type}, not {width} bytes a row")
        parts = [_numbers(part, width) for part in column.chunks]
        values = np.concatenate(parts) if parts else np.empty(0, np.uint8)
        arrays[name] = values.view(kind).reshape(len(table), *shape[1:])
    index = table.select([n for n in table.column_names if not n.startswith(ARRAY)])
    return arrays, index.replace_schema_metadata(None), record


def _numbers(part: Any, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    buffer, start = part.buffers()[1], part.offset * width
    return np.frombuffer(buffer, np.uint8)[start : start + len(part) * width]
