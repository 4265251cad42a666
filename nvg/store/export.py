"""A store in other people's formats: Parquet, Arrow, WebDataset. Error rows are left out.

Legend: R row of the store, X view, N position, T token.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nvg.errors import AGAIN, full_disk_named
from nvg.files import replacing
from nvg.format.base import ARRAYS, INDEX_SCHEMA, OK, StoreError
from nvg.format.checks import label_faults, token_fault
from nvg.format.damage import DamageError, reading
from nvg.format.index import has_status
from nvg.progress import progress
from nvg.store.lock import one_at_a_time
from nvg.store.store import REPAIR, VERIFY, Store

COLUMNS = ("row", "key", "label", "class", "width", "height", "split")


class ExportFormat(StrEnum):
    """What a store can be turned into."""

    PARQUET = "parquet"
    ARROW = "arrow"
    WEBDATASET = "webdataset"


def export_store(store: Store, kind: ExportFormat, out: Path) -> int:
    """Write the valid rows of a finished store to `out`, chunk by chunk; returns how many.

    Parquet and Arrow (a stream, as `datasets` keeps it) are one file with the columns of the index,
    leaves [X, N] and content [X, T]; WebDataset is a folder of shards, one per chunk, whose samples
    have .leaves.npy, .content.npy, .cls and .json. StoreError when `out` exists.
    """
    store.require_finished()
    if out.exists():
        raise StoreError(f"{out} exists: remove it, or choose another --out")
    count = 0
    with (
        full_disk_named(out, AGAIN),
        one_at_a_time(out),
        progress(_tables(store), total=store.chunks, desc="export", unit="chunk") as chunks,
    ):
        if kind is ExportFormat.WEBDATASET:
            return _write_shards(chunks, out)
        with _open_table(kind, _schema(store), out) as writer:
            for table in chunks:
                writer.write_table(table)
                count += len(table)
    return count


def _schema(store: Store) -> pa.Schema:
    return pa.schema(
        [INDEX_SCHEMA.field(name) for name in COLUMNS]
        + [_field("leaves", store.leaves), _field("content", store.content)]
    )


def _field(name: str, array: Any) -> pa.Field:
    """A fixed-size list of fixed-size lists, [X, N] or [X, T]."""
    _, views, length = array.shape
    return pa.field(name, pa.list_(pa.list_(pa.from_numpy_dtype(array.dtype), length), views))


def _tables(store: Store) -> Iterator[pa.Table]:
    """The valid rows of each chunk, with their tokens."""
    schema = _schema(store)
    for chunk in range(store.chunks):
        try:
            with reading(store.path):
                found = store.intact_chunk(chunk, ARRAYS)
        except DamageError as error:
            raise StoreError(
                f"{store.path}: chunk {chunk} is damaged ({error}): {REPAIR}"
            ) from error
        entries = store.index_part(chunk)
        is_ok = has_status(entries, OK)
        leaves, content = (found[name][is_ok] for name in ("leaves", "content"))
        fault = token_fault(leaves, content, store.manifest) or "".join(
            label_faults(found["label"], entries, store.manifest)
        )
        if fault:
            raise StoreError(f"{store.path}: chunk {chunk} cannot be exported ({fault}); {VERIFY}")
        valid = np.flatnonzero(is_ok)
        columns = [entries[name].take(valid) for name in COLUMNS]
        for name in ("leaves", "content"):
            values_RXT = found[name][valid]
            kind = schema.field(name).type
            flat = pa.FixedSizeListArray.from_arrays(
                pa.array(values_RXT.ravel()), values_RXT.shape[2]
            )
            columns.append(pa.FixedSizeListArray.from_arrays(flat, kind.list_size).cast(kind))
        yield pa.table(columns, schema=schema)


@contextmanager
def _open_table(kind: ExportFormat, schema: pa.Schema, out: Path) -> Iterator[Any]:
    """A writer of tables; `out` appears when all is written.

    The file is opened here: Arrow takes a colon in a name for a URI, and names for UTF-8.
    """
    with replacing(out) as temporary, temporary.open("wb") as file:
        if kind is ExportFormat.PARQUET:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                yield writer
        else:
            with pa.ipc.new_stream(file, schema) as writer:
                yield writer


def _write_shards(tables: Iterator[pa.Table], out: Path) -> int:
    """One tar per chunk; a sample's name is its row, nine digits."""
    count = 0
    with replacing(out) as temporary:
        temporary.mkdir()
        for number, table in enumerate(tables):
            with tarfile.open(temporary / f"{number:05d}.tar", "w") as shard:
                _write_samples(shard, table)
            count += len(table)
    return count


def _write_samples(shard: tarfile.TarFile, table: pa.Table) -> None:
    """The rows of a chunk as the samples of a shard."""
    for entry in table.to_pylist():
        name, metadata = f"{entry['row']:09d}", {k: entry[k] for k in COLUMNS}
        for array in ("leaves", "content"):
            kind = table.schema.field(array).type.value_type.value_type.to_pandas_dtype()
            buffer = io.BytesIO()
            np.save(buffer, np.array(entry[array], dtype=kind))
            _add(shard, f"{name}.{array}.npy", buffer.getvalue())
        _add(shard, f"{name}.cls", str(entry["label"]).encode())
        _add(shard, f"{name}.json", json.dumps(metadata).encode())


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    shard.addfile(member, io.BytesIO(data))
