"""Writing a store: only finished work counts, and a pass that was cut off leaves no trace."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nvg.format.base import StoreError
from nvg.store import Split, open_store, open_writer
from tests.makers import files_below
from tests.nvg.store.makers import (
    empty_plain_store,
    index_table,
    make_plain_store,
    random_arrays,
    write_rows,
)


def test_an_index_follows_the_commits_of_one_object(tmp_path: Path) -> None:
    """finish() shows the whole index in the very object that wrote it."""
    store = empty_plain_store(tmp_path / "a.vgs", 10)
    arrays = random_arrays(store)
    assert len(store.index) == 0
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index_table(store, arrays))
    store.finish()
    assert store.finished
    assert store.index["row"].to_pylist() == list(range(10))


def test_finishing_needs_every_chunk(tmp_path: Path) -> None:
    """With a chunk missing, finish() refuses, counts, and leaves the store unfinished."""
    store = empty_plain_store(tmp_path / "a.vgs", 10)
    arrays = random_arrays(store)
    for chunk in (0, 2):
        write_rows(store, chunk, arrays, index_table(store, arrays))
    with pytest.raises(StoreError, match="2 of 3 chunks"):
        store.finish()
    assert not open_store(store.path).finished


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2)])
def test_the_order_of_writing_leaves_no_trace(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Chunks written in any order give the same files, byte for byte."""
    expected = make_plain_store(tmp_path / "a.vgs", 10, 2, bad=(3,))
    store = empty_plain_store(tmp_path / "b.vgs", 10, 2)
    arrays = random_arrays(store, bad=(3,))
    for chunk in order:
        write_rows(store, chunk, arrays, index_table(store, arrays, bad=(3,)))
    store.finish()
    assert files_below(store.path) == files_below(expected.path)


def test_a_chunk_cut_off_before_its_commit_is_simply_written_again(tmp_path: Path) -> None:
    """Other array bytes and a torn file without a commit record do not count, nor leave a trace."""
    expected = make_plain_store(tmp_path / "a.vgs", 10, 2)
    store = empty_plain_store(tmp_path / "b.vgs", 10, 2)
    arrays, other = random_arrays(store), random_arrays(store, seed=9)
    write_rows(store, 0, arrays, index_table(store, arrays))
    store.group["leaves"][4:8] = other["leaves"][4:8]
    Path(store.path, "content", "c", "1", "0").mkdir(parents=True)
    Path(store.path, "content", "c", "1", "0", "0").write_bytes(b"torn")
    again = open_writer(store.path)
    assert again.committed() == [0]
    for chunk in (1, 2):
        write_rows(again, chunk, arrays, index_table(store, arrays))
    again.finish()
    assert files_below(store.path) == files_below(expected.path)


@pytest.mark.parametrize("name", ["leaves", "content", "label"])
def test_a_chunk_of_the_wrong_shape_is_refused(tmp_path: Path, name: str) -> None:
    """Arrays that do not fill their rows are a ValueError and no commit: nothing is broadcast."""
    store = empty_plain_store(tmp_path / "a.vgs", 8, 2)
    arrays = random_arrays(store)
    part = {key: values[0:4] for key, values in arrays.items()} | {name: arrays[name][:1]}
    with pytest.raises(ValueError, match=name):
        store.write_chunk(0, part, index_table(store, arrays).slice(0, 4))
    assert store.committed() == []


def test_a_store_may_gain_held_out_rows(tmp_path: Path) -> None:
    """Index parts from before it had any count as training, beside those that came after."""
    store = open_writer(make_plain_store(tmp_path / "a.vgs", 8).path)
    for chunk in store.committed():
        store.write_index_part(chunk, store.index_part(chunk))
    store.reopen(replace(store.manifest, rows=12, val_rows=2))
    for name in store.arrays:
        store.group[name].resize((12, *store.group[name].shape[1:]))
    arrays = random_arrays(store)
    write_rows(store, 2, arrays, index_table(store, arrays, val=(9, 10)))
    assert open_store(store.path).index["split"].to_pylist()[8:] == ["train", "val", "val", "train"]
    store.finish()
    opened = open_store(store.path)
    assert opened.ok_rows(Split.VAL).tolist() == [9, 10]
    assert opened.verify() == []


@pytest.mark.parametrize("linked", ["content/c", "content/c/1", "commits", "leaves"])
def test_a_link_does_not_lead_a_writer_out(tmp_path: Path, linked: str) -> None:
    """Nothing is written beyond the store; links to places within it are as good as folders."""
    store, outside = empty_plain_store(tmp_path / "a.vgs", 10), tmp_path / "outside"
    arrays = random_arrays(store)
    place = Path(store.path) / linked
    inside = place.with_name("elsewhere")
    if place.exists():
        place.rename(inside)
    inside.mkdir(exist_ok=True, parents=True)
    shutil.copytree(inside, outside)
    before = files_below(outside)
    place.symlink_to(inside)
    write_rows(open_writer(store.path), 0, arrays, index_table(store, arrays))
    place.unlink()
    place.symlink_to(outside)
    with pytest.raises(StoreError, match="by a link: remove the link"):
        write_rows(open_writer(store.path), 1, arrays, index_table(store, arrays))
    assert files_below(outside) == before
