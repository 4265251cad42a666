"""Rows that are measured: from all over a split, their first view."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st

from nvg.format.base import StoreError
from nvg.loader.first_views import first_views, spread
from nvg.store import Split
from tests.nvg.store.makers import make_store


@given(st.integers(0, 200), st.integers(1, 50))
def test_rows_are_spread_evenly(count: int, most: int) -> None:
    """At most so many, ascending, the first among them, gaps that differ by one at most."""
    rows = 3 * np.arange(count)
    found = spread(rows, most)
    assert len(found) == min(count, most)
    assert set(found.tolist()) <= set(rows.tolist())
    gaps = np.diff(np.append(found, 3 * count)) // 3
    if count:
        assert found[0] == 0
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


def test_batches_hold_the_first_view_of_the_rows(tmp_path: Path) -> None:
    """Leaves, content, label and row number, as the store has them."""
    store = make_store(tmp_path / "store.vgs", rows=9, views=2, bad=(5,), val=(4, 5, 6, 7, 8))
    rows = store.ok_rows(Split.VAL)
    batches = list(first_views(store, rows, 3, torch.device("cpu")))
    assert [len(batch) for batch in batches] == [3, 1]
    for batch in batches:
        assert batch.row is not None
        for n, row in enumerate(batch.row.tolist()):
            assert batch.leaves[n].tolist() == store.leaves[row][0].tolist()
            assert batch.content[n].tolist() == store.content[row][0].tolist()
            assert int(batch.label[n]) == int(store.label[row])
    assert torch.cat([batch.row for batch in batches if batch.row is not None]).tolist() == [
        4,
        6,
        7,
        8,
    ]


def test_a_damaged_chunk_is_not_measured(tmp_path: Path) -> None:
    """Tokens that another image has, sound as they look, are noticed by their checksum."""
    store = make_store(tmp_path / "store.vgs", rows=9, val=(4, 5, 6, 7, 8))
    chunk = int(6 // store.manifest.chunk_rows)
    rows = store.chunk_slice(chunk)
    writable: Any = zarr.open_group(store.path, mode="a")
    writable["content"][rows] = np.asarray(store.content[rows])[:, :, ::-1]
    with pytest.raises(StoreError, match=f"chunk {chunk} is damaged"):
        list(first_views(store, store.ok_rows(Split.VAL), 3, torch.device("cpu")))
