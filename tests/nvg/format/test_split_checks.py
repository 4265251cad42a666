"""Verification of splits: a val row that counts as one to train on is never overlooked."""

from pathlib import Path

import pyarrow.compute as pc

from nvg.store import open_store
from tests.nvg.store.makers import change_manifest, make_plain_store, rewrite_index


def test_another_count_of_held_out_rows_is_named(tmp_path: Path) -> None:
    """Also where the index has lost its column, and all rows would be trained on."""
    store = make_plain_store(tmp_path / "a.vgs", 10, val=(8, 9))
    change_manifest(store, val_rows=3)
    assert open_store(store.path).verify() == ["index has 2 val rows, the manifest 3"]
    rewrite_index(store, store.index.drop_columns("split"))
    assert open_store(store.path).verify() == [
        "index has 0 val rows, the manifest 3",
        "chunk 2: index rows do not match their checksum",
    ]


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    """A row is for training or held out."""
    store = make_plain_store(tmp_path / "a.vgs", 10, val=(8, 9))
    split = pc.replace_substring(store.index["split"], "train", "test")
    rewrite_index(store, store.index.drop_columns("split").append_column("split", split))
    assert open_store(store.path).verify() == [
        f"chunk {chunk}: index has an unknown split: ['test']" for chunk in (0, 1)
    ]
