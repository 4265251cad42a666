"""What a store consists of (docs/FORMAT.md): names, schema, and how its files become bytes."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nvg.errors import InputError, first_line

FORMAT = "nvg-store"
LINKED = "nvg-store-links"  # of a store whose arrays are those of its parts


VERSIONS = (1, 2)  # 2: in shards


ARRAYS = ("leaves", "content", "label")


FEATURES = "features"  # an array that stores tokenized with [tokenize.features] have too


TOKENIZER_FILE = "tokenizer.safetensors"  # codebook and phi
CODEC = "features.safetensors"


INDEX_FILE = "index.parquet"


COUNTS = "chunks.parquet"  # rows of each chunk by split and status


PART_ROW = "part_row"  # a column that only the index of a linked store has


ORDER = "rows.parquet"  # of an extended store: key, label and split of every row


OK, ERROR = "ok", "error"


class Split(StrEnum):
    """What a row is for."""

    TRAIN = "train"
    VAL = "val"
    """Held out: to measure on, never to train on."""


SPLIT = "split"  # the column; files of a store without val rows do not have it


INDEX_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("key", pa.string()),
        ("label", pa.int32()),
        ("class", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("stage_error", pa.list_(pa.float32())),
        (SPLIT, pa.string()),
    ]
)


def file_schema(val_rows: int) -> pa.Schema:
    """The columns of an index file: those of INDEX_SCHEMA, SPLIT only where rows are held out.

    Without, a file has the bytes that it had before there were splits.
    """
    return INDEX_SCHEMA if val_rows else INDEX_SCHEMA.remove(INDEX_SCHEMA.get_field_index(SPLIT))


Arrays = dict[str, np.ndarray[Any, Any]]


class StoreError(InputError):
    """A store that cannot be used as asked; the message names it and the remedy."""


def digest(values: np.ndarray[Any, Any]) -> str:
    """SHA-256 of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def read_parquet(data: bytes, most: int | None = None) -> pa.Table:
    """A Parquet file's bytes as a table; ValueError for other bytes, or over `most` rows.

    Not by `read_table`: the threads that read ahead for it may abort a process that ends soon.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if most is not None and file.metadata.num_rows > most:
            raise ValueError(f"it has {file.metadata.num_rows} rows, not at most {most}")
        return file.read()
    except OSError as error:  # pyarrow's name for most kinds of damage, though nothing is read here
        raise ValueError(f"not a valid Parquet file: {first_line(error)}") from error


def part_name(chunk: int) -> str:
    """Where the index rows of a committed chunk are until the store is finished."""
    return f"commits/{chunk:05d}.parquet"


def parquet_bytes(tables: Iterable[pa.Table], schema: pa.Schema) -> bytes:
    """Tables of one schema, one after another, as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data
