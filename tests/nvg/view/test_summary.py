"""The summary of a store: counts, errors by reason, keys."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from nvg.errors import InputError
from nvg.store import Store
from nvg.view.summary import find_key, split_note, summarize
from tests.nvg.store.makers import empty_store, make_store


def test_counts_are_the_stores(store: Store) -> None:
    """Counts, errors by reason and the manifest's values, all of which JSON can hold."""
    found = summarize(store)
    assert (found.rows, found.indexed, found.errors, found.chunks) == (10, 10, 2, 3)
    assert found.reasons == {"not an image": 2}
    assert found.views == ["center", "flip"]
    assert (found.grid, found.last_stage, found.tokens) == (4, 4, 31)
    assert found.finished
    assert found.bytes_per_image == found.bytes / 10
    assert json.loads(json.dumps(asdict(found)))["stages"][4]["clusters"] == 16


def test_most_used_codes_are_counted(tmp_path: Path) -> None:
    """Usage per stage equals a count over the tokens."""
    store = make_store(tmp_path / "a.vgs", 50)
    for use in summarize(store).stages:
        tokens = store.content[:][..., store.geometry.stage_slice(use.stage)].ravel().tolist()
        counts = sorted((-tokens.count(code), code) for code in set(tokens))[:3]
        assert [code for code, _ in use.top] == [code for _, code in counts]
        assert use.top[0][1] == pytest.approx(-counts[0][0] / len(tokens))


def test_an_empty_store_can_be_looked_at(tmp_path: Path) -> None:
    """Without committed rows, counts are zero and stages are missing."""
    found = summarize(empty_store(tmp_path / "a.vgs", 6))
    assert not found.finished
    assert (found.indexed, found.committed, found.stages) == (0, 0, [])


def test_keys_are_found(store: Store) -> None:
    """The whole key is found; the error for another names a similar key, or what keys are."""
    assert find_key(store, "image-7") == 7
    with pytest.raises(InputError, match="there is 'image-7'"):
        find_key(store, "photos/mage-7")
    with pytest.raises(InputError, match="keys are paths within the source"):
        find_key(store, "none")


def test_splits_are_counted(tmp_path: Path) -> None:
    """Held-out rows are counted; usage is that of the rows for training."""
    found = summarize(make_store(tmp_path / "a.vgs", 10, bad=(1, 9), val=(8, 9)))
    assert (found.rows, found.val_rows, found.errors) == (10, 2, 2)
    assert split_note(found.rows, found.val_rows) == " (8 train, 2 val)"
    assert split_note(1_797, 360) == " (1,437 train, 360 val)"
    assert split_note(10, 0) == ""
