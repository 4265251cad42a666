"""What a store is opened by: bounded reads of descriptions, the arrays, the records."""

from pathlib import Path

import pytest

from nvg.store import Store, open_store
from nvg.store.format import StoreError


def test_the_head_of_a_file_is_not_more_than_asked_for(store: Store) -> None:
    """So that a description of 100 GB costs no memory."""
    assert store.head("manifest.json", 10) == store.read("manifest.json")[:10]


def test_a_manifest_without_end_is_refused(store: Store) -> None:
    """A sparse file of a terabyte is not read."""
    with Path(store.path, "manifest.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match=r"its manifest\.json is over 67108864 bytes"):
        open_store(store.path)


def test_a_lost_array_is_said_when_it_is_asked_for(store: Store) -> None:
    """With the remedy; what else the store holds can be read."""
    Path(store.path, "content", "zarr.json").unlink()
    opened = open_store(store.path)
    assert len(opened.index) == 10
    with pytest.raises(StoreError, match=r"has lost its content/zarr\.json: repair it"):
        _ = opened.leaves
