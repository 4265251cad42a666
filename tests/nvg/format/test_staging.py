"""Chunks that wait: all that a chunk is in one file, and other files are refused."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nvg.format.record import CommitRecord
from nvg.format.schema import array_shapes
from nvg.format.staging import RECORD, read_staged, staged_bytes, staged_name
from nvg.store import Store


@pytest.fixture
def waiting(store: Store) -> tuple[Store, bytes, CommitRecord]:
    """A store, and the first chunk of it as a file."""
    record = store.commit_record(0)
    return store, staged_bytes(store.read_chunk(0), store.index_part(0), record), record


def test_it_holds_all_of_a_chunk(waiting: tuple[Store, bytes, CommitRecord]) -> None:
    """Arrays of their dtype, index rows, the record; and plain pyarrow reads it."""
    store, data, record = waiting
    arrays, index, found = read_staged(data, array_shapes(store.manifest), 4)
    assert found == record.to_bytes()
    assert index.to_pylist() == store.index_part(0).to_pylist()
    for name, values in store.read_chunk(0).items():
        assert arrays[name].dtype == values.dtype
        np.testing.assert_array_equal(arrays[name], values)
    assert pq.read_table(pa.BufferReader(data)).num_rows == 4
    assert staged_name(3, 77) == "staging/00003/0000077.parquet"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.replace_schema_metadata(None), "has no commit record"),
        (lambda table: table.drop_columns("array.leaves"), "has no leaves"),
        (
            lambda table: table.set_column(
                table.column_names.index("array.content"), "array.content", table["key"]
            ),
            "its content is string, not 124 bytes a row",
        ),
        (lambda table: pa.concat_tables([table, table]), "it has 8 rows, not at most 4"),
    ],
)
def test_other_files_are_refused(
    waiting: tuple[Store, bytes, CommitRecord], change: Any, said: str
) -> None:
    """With what is wrong."""
    store, data, _ = waiting
    sink = pa.BufferOutputStream()
    pq.write_table(change(pq.read_table(pa.BufferReader(data))), sink)
    changed = sink.getvalue().to_pybytes()
    with pytest.raises(ValueError, match=said):
        read_staged(changed, array_shapes(store.manifest), 4)
    assert RECORD == b"nvg"
