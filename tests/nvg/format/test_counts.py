"""Counts of chunks: those of the index, and what does not agree with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nvg.format.base import parquet_bytes, read_parquet
from nvg.format.counts import (
    COLUMNS,
    all_of,
    counts_bytes,
    counts_of,
    errors_in,
    joined,
    manifest_faults,
    ok_of,
    read_counts,
)
from nvg.store import Split
from tests.nvg.store.makers import make_store


def test_they_are_those_of_the_index(tmp_path: Path) -> None:
    """Rows by split and status, chunk by chunk; through the file as well."""
    store = make_store(tmp_path / "a.vgs", 10, bad=(1, 8), val=(8, 9))
    counts = joined([counts_of(store.index_part(chunk)) for chunk in range(store.chunks)])
    assert counts[all_of(Split.TRAIN)].tolist() == [4, 4, 0]
    assert counts[ok_of(Split.TRAIN)].tolist() == [3, 4, 0]
    assert counts[all_of(Split.VAL)].tolist() == [0, 0, 2]
    assert counts[ok_of(Split.VAL)].tolist() == [0, 0, 1]
    assert errors_in(counts) == 2
    found = read_counts(counts_bytes(counts), 3)
    assert found.keys() == set(COLUMNS)
    assert all(np.array_equal(found[name], counts[name]) for name in COLUMNS)
    assert all(found[name].dtype == np.int64 for name in COLUMNS)
    assert manifest_faults(counts, store.manifest) == []
    wrong = replace(store.manifest, errors=1, val_rows=3)
    assert manifest_faults(counts, wrong) == [
        "index has 2 error rows, the manifest 1",
        "index has 2 val rows, the manifest 3",
    ]
    with pytest.raises(ValueError, match="is not of 4 chunks"):
        read_counts(counts_bytes(counts), 4)
    table = read_parquet(counts_bytes(counts))
    for values in ([1.5, float("nan"), 0.0], [1, None, 2], ["1", "2", "3"], [1 << 40, 1, 1]):
        other = table.set_column(0, COLUMNS[0], pa.array(values))
        with pytest.raises(ValueError, match="has a column that is not all int32"):
            read_counts(parquet_bytes([other], other.schema), 3)
    with pytest.raises(ValueError, match="not at most 2"):
        read_counts(counts_bytes(counts), 2)
