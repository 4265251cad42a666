"""Columns of a store's index as numpy arrays, without pandas.

pyarrow imports pandas, which takes half a second, whenever it turns Python values into Arrow's or
arrays into numpy's by its own methods. DLPack and dictionary encoding need neither.

Legend: R row of the store, S stage.
"""

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.format.base import INDEX_SCHEMA, SPLIT, Split


def numbers(index: pa.Table, column: str) -> np.ndarray[Any, Any]:
    """A column of integers [R]."""
    return _joined([np.from_dlpack(part) for part in index[column].chunks])


def with_numbers(index: pa.Table, column: str, values: np.ndarray[Any, Any]) -> pa.Table:
    """The table with integers [R] as a column, in place of the one of that name or as the last."""
    array = arrow_numbers(values)
    at = index.column_names.index(column) if column in index.column_names else -1
    if at < 0:
        return index.append_column(column, array)
    return index.set_column(at, column, array)


def arrow_numbers(values: np.ndarray[Any, Any]) -> pa.Array:
    """Integers [R], int64 or int32, as Arrow has them."""
    kind = pa.int64() if values.dtype == np.int64 else pa.int32()
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, data])


def has_status(index: pa.Table, status: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows have this status, OK or ERROR, bool [R]."""
    return _equals(index, "status", status)


def in_split(index: pa.Table, split: Split) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows are of this split, bool [R]."""
    return _equals(index, SPLIT, split.value)


def with_split(index: pa.Table) -> pa.Table:
    """The table with a column SPLIT; where it has none, every row is for training."""
    if SPLIT in index.column_names:
        return index
    rows, word = len(index), Split.TRAIN.value.encode()
    offsets = np.arange(rows + 1, dtype=np.int32) * len(word)
    column = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(word * rows))
    return index.append_column(SPLIT, column)


def chosen(index: pa.Table, is_chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> pa.Table:
    """The entries of the rows that are chosen, bool [R]."""
    bits = pa.py_buffer(np.packbits(is_chosen, bitorder="little"))
    return index.filter(pa.Array.from_buffers(pa.bool_(), len(is_chosen), [None, bits]))


def reasons_of(index: pa.Table, status: str) -> dict[str, int]:
    """How many rows of this status have each reason, by reason."""
    wanted, start, counts = has_status(index, status), 0, Counter[str]()
    for names, codes in _encoded(index, "reason"):
        found = np.bincount(codes[wanted[start : start + len(codes)]], minlength=len(names))
        counts.update({name: int(n) for name, n in zip(names, found, strict=True) if n})
        start += len(codes)
    return dict(sorted(counts.items()))


def stage_error_sum(
    index: pa.Table, stages: int
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int]:
    """Mean squared latent residuals after each stage, [S], summed over the rows that have one; and
    how many have."""
    parts = [np.from_dlpack(part.drop_null().flatten()) for part in index["stage_error"].chunks]
    errors_RS = np.concatenate([*parts, np.empty(0, np.float32)]).reshape(-1, stages)
    return errors_RS.sum(0, dtype=np.float64), len(errors_RS)


def entries_of(index: pa.Table, rows: Any) -> list[dict[str, Any]]:
    """The entries of these rows, in the order of the index."""
    at = np.flatnonzero(np.isin(numbers(index, "row"), rows))
    return [entry for n in at.tolist() for entry in index.slice(n, 1).to_pylist()]


def rows_digest(index: pa.Table) -> str:
    """SHA-256 of the values of some index rows, however a file keeps them (docs/FORMAT.md)."""
    state, rows = hashlib.sha256(), with_split(index)
    for name in INDEX_SCHEMA.names:
        state.update(name.encode() + b"\0")
        for values in _plain(rows[name].combine_chunks()):
            state.update(values)
    return state.hexdigest()


def _plain(column: pa.Array) -> list[Any]:
    """The values of a column one after another, as bytes or numbers; of texts and lists first how
    long each is, int32, -1 for none."""
    if pa.types.is_integer(column.type):
        return [np.from_dlpack(column)]
    if not len(column):
        return []
    valid, offsets, *data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1]
    lengths = np.diff(ends)
    if column.null_count:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
        lengths[bits[column.offset :][: len(column)] == 0] = -1
    if pa.types.is_list(column.type):
        return [lengths, np.from_dlpack(column.flatten())]
    return [lengths, memoryview(data[0] or b"")[ends[0] : ends[-1]]]


def _equals(index: pa.Table, column: str, value: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows have this value in a column of strings, bool [R]."""
    return _joined(
        [
            codes == names.index(value) if value in names else np.zeros(len(codes), bool)
            for names, codes in _encoded(index, column)
        ]
    ).astype(bool)


def _encoded(index: pa.Table, column: str) -> list[tuple[list[str], np.ndarray[Any, Any]]]:
    """(distinct values, the number of each row's value) for each chunk of a column of strings."""
    parts = index[column].dictionary_encode().chunks
    return [(part.dictionary.to_pylist(), np.from_dlpack(part.indices)) for part in parts]


def _joined(parts: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
