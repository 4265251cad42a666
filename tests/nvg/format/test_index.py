"""Columns of an index as numpy: what pyarrow says, in one chunk, in several, and in none."""

import hashlib
import itertools
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nvg.format.base import ERROR, INDEX_SCHEMA, OK, SPLIT, Split, file_schema
from nvg.format.index import (
    chosen,
    entries_of,
    has_status,
    in_split,
    numbers,
    reasons_of,
    rows_digest,
    stage_error_sum,
    with_split,
)

GIVEN: list[dict[str, Any]] = [
    {"row": 0, "key": "a", "label": 1, "status": OK, "reason": "", "stage_error": [1.0, 0.5]},
    {"row": 1, "key": "b", "label": -1, "status": ERROR, "reason": "cut", "stage_error": None},
    {"row": 2, "key": "c", "label": 0, "status": ERROR, "reason": "bomb", "stage_error": None},
    {"row": 3, "key": "d", "label": 2, "status": ERROR, "reason": "cut", "stage_error": None},
    {"row": 4, "key": "e", "label": 2, "status": OK, "reason": "", "stage_error": [3.0, 1.5]},
]
ROWS = [
    {"class": "β" * n, "width": n, "height": 7, "split": "train", **row}
    for n, row in enumerate(GIVEN)
]


def table(*sizes: int) -> pa.Table:
    """The rows in chunks of these sizes."""
    whole, parts, start = pa.Table.from_pylist(ROWS, INDEX_SCHEMA), [], 0
    for size in sizes:
        parts.append(whole.slice(start, size))
        start += size
    return pa.concat_tables(parts) if parts else INDEX_SCHEMA.empty_table()


@pytest.mark.parametrize("sizes", [(5,), (2, 3), (1, 1, 1, 2)])
def test_columns_are_what_the_table_holds(sizes: tuple[int, ...]) -> None:
    """Chunks, which begin anywhere in their buffers, come one after another."""
    index = table(*sizes)
    assert numbers(index, "row").tolist() == [0, 1, 2, 3, 4]
    assert numbers(index, "label").tolist() == [1, -1, 0, 2, 2]
    assert has_status(index, OK).tolist() == [True, False, False, False, True]
    assert has_status(index, ERROR).tolist() == [False, True, True, True, False]
    assert reasons_of(index, ERROR) == {"bomb": 1, "cut": 2}
    sum_S, count = stage_error_sum(index, 2)
    assert np.allclose(sum_S / count, [2.0, 1.0])
    assert [entry["key"] for entry in entries_of(index, [4, 1, 9])] == ["b", "e"]


@pytest.mark.parametrize("sizes", [(5,), (1, 1, 1, 2), ()])
def test_an_index_without_splits_is_all_for_training(sizes: tuple[int, ...]) -> None:
    """As every store was before there were splits; an index with them stays as it is."""
    old = table(*sizes).select(file_schema(0).names)
    assert SPLIT not in old.column_names
    index = with_split(old)
    assert index.schema.equals(INDEX_SCHEMA)
    assert index[SPLIT].to_pylist() == ["train"] * sum(sizes)
    assert index.select(old.column_names).equals(old)
    assert with_split(index) is index


@pytest.mark.parametrize("sizes", [(5,), (2, 3), (1, 1, 1, 2)])
def test_entries_are_chosen_by_split(sizes: tuple[int, ...]) -> None:
    """Rows of both splits, in any order."""
    index, words = table(*sizes), ["val", "train", "train", "val", "train"]
    index = index.set_column(index.column_names.index(SPLIT), SPLIT, [words])
    assert in_split(index, Split.TRAIN).tolist() == [word == "train" for word in words]
    is_val = in_split(index, Split.VAL)
    assert chosen(index, is_val).equals(index.filter(is_val))
    assert numbers(chosen(index, is_val), "row").tolist() == [0, 3]


def test_an_empty_index_has_empty_columns() -> None:
    """As of a store without a committed chunk."""
    index = table()
    assert numbers(index, "row").tolist() == []
    assert has_status(index, OK).tolist() == []
    assert reasons_of(index, ERROR) == {}
    assert entries_of(index, [0]) == []


def plain_digest(rows: list[dict[str, Any]]) -> str:
    """The checksum of complete index rows, value by value."""
    data = b""
    for field in INDEX_SCHEMA:
        column = [row[field.name] for row in rows]
        data += field.name.encode() + b"\0"
        if field.type in (pa.int32(), pa.int64()):
            data += b"".join(
                struct.pack("<i" if field.type == pa.int32() else "<q", v) for v in column
            )
            continue
        whole = [value.encode() if isinstance(value, str) else value for value in column]
        data += b"".join(struct.pack("<i", -1 if v is None else len(v)) for v in whole)
        for value in whole:
            data += (
                value
                if isinstance(value, bytes)
                else struct.pack(f"<{len(value or [])}f", *(value or []))
            )
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("sizes", [(5,), (2, 3), (1, 1, 1, 2), (0, 5)])
def test_the_checksum_of_rows_is_of_their_values(sizes: tuple[int, ...]) -> None:
    """As docs/FORMAT.md says, whichever rows, however they are stored, with or without `split`."""
    whole = pa.Table.from_pylist(ROWS, INDEX_SCHEMA)
    starts = itertools.accumulate(sizes, initial=0)
    index = pa.concat_tables(whole.slice(at, size) for at, size in zip(starts, sizes, strict=False))
    for rows in (slice(0, 5), slice(1, 4), slice(2, 3), slice(4, 5), slice(2, 2)):
        part = index.slice(rows.start, rows.stop - rows.start)
        assert rows_digest(part) == plain_digest(ROWS[rows])
        assert rows_digest(part.drop_columns(SPLIT)) == plain_digest(ROWS[rows])
    other = [*ROWS[:4], {**ROWS[4], "key": "f"}]
    assert rows_digest(pa.Table.from_pylist(other, INDEX_SCHEMA)) == plain_digest(other)
    assert plain_digest(other) != plain_digest(ROWS)


def test_reading_columns_imports_no_pandas() -> None:
    """It would cost half a second at the start of every verb."""
    code = """
import sys
import pyarrow as pa
from nvg.format.index import numbers, has_status, reasons_of, stage_error_sum, entries_of
from nvg.format.index import chosen, in_split, rows_digest, with_split
from nvg.format.base import Split
reader = pa.ipc.open_stream(sys.stdin.buffer.read())
index = reader.read_all()
numbers(index, "row"), has_status(index, "ok"), reasons_of(index, "error")
stage_error_sum(index, 2), entries_of(index, [1])
index = with_split(index.drop_columns("split"))
rows_digest(chosen(index, in_split(index, Split.TRAIN)))
print("pandas" in sys.modules)
"""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, INDEX_SCHEMA) as writer:
        writer.write_table(table(5))
    run = subprocess.run(
        [sys.executable, "-c", code], input=sink.getvalue().to_pybytes(), capture_output=True
    )
    assert run.stdout.strip() == b"False", run.stderr.decode()
