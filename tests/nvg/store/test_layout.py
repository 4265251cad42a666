"""An empty store: shapes and types of its arrays, and what it is never laid over."""

from pathlib import Path

import numpy as np
import pytest

from nvg.format.base import StoreError
from nvg.store import Store, open_store
from tests.makers import files_below
from tests.nvg.store.makers import (
    empty_plain_store,
    make_plain_store,
    random_arrays,
    same_arrays,
)


def test_many_positions_take_two_bytes_a_leaf(tmp_path: Path) -> None:
    """A 32x32 grid (K = 10) has leaves up to 1023: stored as uint16, and read back exactly."""
    made = make_plain_store(tmp_path / "a.vgs", 5, 2, grid=32)
    store = open_store(made.path)
    assert store.leaves.dtype == np.uint16
    assert int(store.leaves[:].max()) == 1023
    assert same_arrays(store, random_arrays(made))


@pytest.mark.parametrize("grid", [2, 16])
def test_few_positions_take_one_byte_a_leaf(tmp_path: Path, grid: int) -> None:
    """Up to 256 positions a leaf is one byte."""
    assert empty_plain_store(tmp_path / "a.vgs", 2, grid=grid).leaves.dtype == np.uint8


def test_arrays_have_the_documented_shapes(store: Store) -> None:
    """leaves [N, V, L], content [N, V, 2L-1] uint16, label [N] int32, chunked along rows only."""
    assert (store.leaves.shape, store.leaves.chunks) == ((10, 2, 16), (4, 2, 16))
    assert (store.content.shape, store.content.chunks) == ((10, 2, 31), (4, 2, 31))
    assert (store.label.shape, store.label.chunks) == ((10,), (4,))
    assert (store.content.dtype, store.label.dtype) == (np.uint16, np.int32)


def test_an_existing_store_is_not_overwritten(store: Store) -> None:
    """create_store refuses, names the remedies, and leaves every file as it was."""
    before = files_below(store.path)
    with pytest.raises(StoreError, match=r"--resume.*--out"):
        empty_plain_store(store.path, 10)
    assert files_below(store.path) == before


def test_a_folder_of_other_files_is_not_overwritten(tmp_path: Path) -> None:
    """create_store never deletes what it did not write: it refuses a folder that is not empty."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match=tmp_path.name):
        empty_plain_store(tmp_path, 4)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
