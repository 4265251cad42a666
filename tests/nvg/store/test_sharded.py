"""Stores of version 2 read as those of version 1, in parts, and notice what is wrong."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as dataset
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.format.base import ARRAYS, StoreError, parquet_bytes, read_parquet
from nvg.format.counts import counts_bytes
from nvg.store import Split, open_store, open_writer
from nvg.store.sharded import ShardedStore
from tests.makers import files_below
from tests.nvg.store.makers import (
    change_manifest,
    chunk_file,
    empty_store,
    flip,
    flip_chunk,
    index_table,
    make_plain_store,
    make_store,
    random_arrays,
    same_arrays,
    write_rows,
)

ROWS, BAD, VAL = 22, (3, 9), (20, 21)


@pytest.fixture
def sharded(tmp_path: Path) -> ShardedStore:
    """A finished store of three shards with two views, error rows and val rows."""
    store = open_store(make_store(tmp_path / "a.vgs", ROWS, 2, bad=BAD, val=VAL).path)
    assert isinstance(store, ShardedStore)
    return store


def test_both_versions_read_alike(sharded: ShardedStore, tmp_path: Path) -> None:
    """Arrays, index, entries, records, counts and masks; Zarr reads the arrays too."""
    plain = make_plain_store(tmp_path / "plain.vgs", ROWS, 2, bad=BAD, val=VAL)
    assert sharded.verify() == plain.verify() == []
    assert sharded.index.to_pylist() == plain.index.to_pylist()
    assert pa.concat_tables(sharded.index_tables()).to_pylist() == plain.index.to_pylist()
    rows = [21, 0, 9, 8]
    assert sharded.entries(rows) == plain.entries(rows)
    group = zarr.open_group(sharded.path, mode="r")
    for name in ARRAYS:
        np.testing.assert_array_equal(np.asarray(group[name]), np.asarray(plain.group[name]))
        one, other = (each.stored_rows(name, [2, 8, 21]) for each in (sharded, plain))
        np.testing.assert_array_equal(one, other)
    for chunk in range(plain.chunks):
        assert sharded.commit_record(chunk) == plain.commit_record(chunk)
        for name, values in plain.read_chunk(chunk).items():
            np.testing.assert_array_equal(sharded.stored(name, chunk), values)
    for split in Split:
        for one, other in zip(sharded.row_counts(split), plain.row_counts(split), strict=True):
            np.testing.assert_array_equal(one, other)
        for chunk in range(plain.chunks):
            one, other = (each.is_valid(chunk, split) for each in (sharded, plain))
            np.testing.assert_array_equal(one, other)
        assert sharded.ok_rows(split).tolist() == plain.ok_rows(split).tolist()


def test_an_entry_reads_one_part_of_the_index(
    sharded: ShardedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row, a chunk's mask and the counts leave the other parts alone."""
    read, names = sharded.read, list[str]()

    def noted(name: str) -> bytes:
        names.append(name)
        return read(name)

    monkeypatch.setattr(sharded, "read", noted)
    assert sharded.entry(17)["key"] == "image-17"
    sharded.row_counts(Split.TRAIN)
    assert [name for name in names if name.startswith("index")] == ["index/00002.parquet"]


def test_other_tools_read_the_folder_of_the_index(sharded: ShardedStore) -> None:
    """As one table."""
    found = dataset.dataset(f"{sharded.path}/index", format="parquet").to_table()
    assert found.column("key").to_pylist() == [f"image-{row}" for row in range(ROWS)]


def test_an_unfinished_store_shows_what_waits(tmp_path: Path) -> None:
    """Its index, tokens and entries are those of the committed chunks."""
    store = empty_store(tmp_path / "a.vgs", ROWS)
    arrays = random_arrays(store)
    index = index_table(store, arrays)
    for chunk in (5, 0, 1):
        write_rows(store, chunk, arrays, index)
    found = open_store(store.path)
    assert found.index["row"].to_pylist() == [*range(8), 20, 21]
    assert found.entry(21)["key"] == "image-21"
    np.testing.assert_array_equal(found.row_tokens([21])[1], arrays["content"][[21]])
    with pytest.raises(StoreError, match="row 9 is not committed yet"):
        found.entry(9)
    with pytest.raises(StoreError, match="unfinished"):
        found.require_finished()
    assert found.verify() == ["unfinished: 3 of 6 chunks are committed"]


@pytest.mark.thorough
@settings(max_examples=80, deadline=None)
@given(which=st.integers(0, 10**6), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, which: int, place: int, bit: int
) -> None:
    """In any file of the store, but for the descriptions in words that nothing is read by."""
    path = tmp_path_factory.mktemp("bits") / "a.vgs"
    make_store(path, 10, bad=(3,), val=(9,))
    files = sorted(files_below(path))
    file = path / files[which % len(files)]
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= 1 << bit
    file.write_bytes(data)
    try:
        faults = open_store(str(path)).verify()
    except StoreError:
        return
    store = open_store(str(path))
    assert faults or same_arrays(store, random_arrays(store, 0, (3,)))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("leaves/c/1/0/0", "chunk 2: cannot be read: .*leaves/c/1/0/0 is missing"),
        ("index/00001.parquet", "chunk 2: cannot be read: index cannot be read"),
        ("commits/00001.json", r"chunks without a commit record: \[2, 3\]"),
        ("chunks.parquet", "chunks.parquet is missing"),
    ],
)
def test_a_lost_file_is_named(sharded: ShardedStore, file: str, said: str) -> None:
    """And the rest is checked all the same."""
    Path(sharded.path, file).unlink()
    found = open_store(sharded.path).verify()
    assert any(re.search(said, fault) for fault in found), found


def test_damage_concerns_its_chunk_alone(sharded: ShardedStore) -> None:
    """A flipped bit of a chunk, not the others of its shard."""
    flip_chunk(Path(sharded.path), "content", 3)
    (fault,) = open_store(sharded.path).verify()
    assert fault == "chunk 3: cannot be read: CRC32C of a chunk does not match"
    flip(chunk_file(Path(sharded.path), "label", 0))
    assert len(open_store(sharded.path).verify()) >= 2


def test_a_record_that_does_not_fit_concerns_its_chunk_alone(sharded: ShardedStore) -> None:
    """The others of its shard are read; so they are where the last of them is lost."""
    file, whole = Path(sharded.path, "commits/00000.json"), sharded.commit_record(1)
    table = json.loads(file.read_text())
    first, second = table["chunks"]
    file.write_text(json.dumps(table | {"chunks": [first | {"errors": 99}, second]}))
    found = open_store(sharded.path)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^commits/00000\.json: errors must be 0\.\."):
            found.commit_record(0)
    assert found.commit_record(1) == whole
    file.write_text(json.dumps(table | {"chunks": [first]}))
    found = open_store(sharded.path)
    assert found.commit_record(0).chunk == 0
    with pytest.raises(ValueError, match=r"^commits/00000\.json lacks chunk 1$"):
        found.commit_record(1)


def test_wrong_counts_are_found(sharded: ShardedStore) -> None:
    """They decide what a loader reads: damaged ones are refused, others `verify` compares."""
    file, counts = Path(sharded.path, "chunks.parquet"), sharded.chunk_counts()
    flip(file)
    with pytest.raises(StoreError, match=r"chunks\.parquet is missing or damaged"):
        open_store(sharded.path).row_counts(Split.TRAIN)
    counts["train_ok"][0] -= 1
    file.write_bytes(counts_bytes(counts))
    change_manifest(sharded, counts=hashlib.sha256(file.read_bytes()).hexdigest())
    found = open_store(sharded.path).verify()
    assert found == ["chunks.parquet does not count what the index has"]


def test_counts_that_are_none_are_found_by_verify_too(sharded: ShardedStore) -> None:
    """Though their checksum is that of the manifest."""
    data = counts_bytes(sharded.chunk_counts())
    table = read_parquet(data)
    other = table.set_column(0, table.column_names[0], pa.array([0.5] * len(table)))
    data = parquet_bytes([other], other.schema)
    Path(sharded.path, "chunks.parquet").write_bytes(data)
    change_manifest(sharded, counts=hashlib.sha256(data).hexdigest())
    again = open_store(sharded.path)
    assert again.verify() == [
        "chunks.parquet has a column that is not all int32: repair it with `nvgctl tokenize ... "
        "--resume`"
    ]
    with pytest.raises(StoreError, match=f"^{re.escape(sharded.path)}: chunks.parquet has a"):
        again.row_counts(Split.TRAIN)
    writer = open_writer(sharded.path)
    writer.withdraw_counts()
    writer.finish()
    assert open_store(sharded.path).verify() == []
