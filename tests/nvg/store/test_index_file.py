"""The index of a linked store in parts: no more of it is read than is asked for."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nvg.compose import pieces
from nvg.compose.merge import Overlap, merge_stores
from nvg.compose.subset import RowFilter, subset_store
from nvg.format.base import StoreError
from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import Split, Store, index_file, open_store
from nvg.store.index_file import IndexFile
from nvg.store.sharded import KEPT, ShardedStore
from tests.nvg.compose.makers import memory, two_stores
from tests.nvg.store.makers import write_sealed

ROWS, GROUP = 41 + 17, 4


@pytest.fixture(params=["disk", "memory"])
def merged(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """Rows 0..40 of one store and 0..16 of another, in groups of four; no index is loaded whole."""
    home = str(tmp_path) if request.param == "disk" else memory()
    monkeypatch.setattr(pieces, "GROUP", GROUP)
    stores = two_stores(home, 41, 17)
    with monkeypatch.context() as patched:
        for kind in (Store, ShardedStore):
            patched.setattr(kind, "index", property(lambda _: pytest.fail("it is read whole")))
        merge_stores([store.path for store in stores], f"{home}/c.vgs")
    return open_store(f"{home}/c.vgs")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """Groups that are read, and whether all columns of them are."""
    found: list[tuple[int, bool]] = []
    whole = index_file._read

    def counting(file: Any, group: int, columns: list[str] | None = None) -> pa.Table:
        found.append((group, columns is None))
        table = whole(file, group, columns)
        assert len(table) <= GROUP
        return table

    monkeypatch.setattr(index_file, "_read", counting)
    return found


def whole_ones(read: list[tuple[int, bool]]) -> list[int]:
    """Groups of which all columns were read."""
    return [group for group, is_whole in read if is_whole]


def test_opening_and_len_read_nothing_of_it(merged: Store, read: list[tuple[int, bool]]) -> None:
    """What the manifest has is enough."""
    assert len(open_store(merged.path)) == ROWS
    assert read == []


def test_one_row_reads_its_group(merged: Store, read: list[tuple[int, bool]]) -> None:
    """Rows of one group read it once."""
    assert merged.entry(9)["row"] == 9
    assert [entry["row"] for entry in merged.entries([10, 8, ROWS - 1])] == [10, 8, ROWS - 1]
    assert read == [(2, True), (14, True)]


def test_few_groups_are_kept(merged: Store) -> None:
    """However many are read one after another."""
    file = IndexFile(merged)
    assert [len(table) for table in file.tables()] == [GROUP] * (ROWS // GROUP) + [ROWS % GROUP]
    assert len(file._groups) == KEPT


def test_any_rows_are_those_of_the_whole(merged: Store) -> None:
    """Within a group, over several, at the ends."""
    file, whole = IndexFile(merged), pa.concat_tables(IndexFile(merged).tables())
    for start in range(0, ROWS, 5):  # at every place of a group
        near = range(start + 1, min(start + 6, ROWS))
        for stop in {*near, max(start + 1, 42), ROWS}:
            assert file.rows(slice(start, stop)).equals(whole.slice(start, stop - start))
    assert file.part_rows().tolist() == [*range(41), *range(17)]


@pytest.mark.parametrize("mode", [LoaderMode.STREAM, LoaderMode.MEMORY])
def test_a_loader_reads_it_in_parts(
    merged: Store, read: list[tuple[int, bool]], mode: LoaderMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it once to count, and of a chunk with an error or val row that part."""
    monkeypatch.setattr(type(merged), "index", property(lambda _: pytest.fail("it is read whole")))
    loader = SequenceLoader(merged, 3, drop_last=False, mode=mode, window=2)
    assert whole_ones(read) == list(range(15))
    read.clear()
    seen = [row for batch in loader if batch.row is not None for row in batch.row.tolist()]
    assert sorted(seen) == merged.ok_rows().tolist()
    assert len(seen) == ROWS - 2 - 2
    own, valid = merged.row_counts(Split.TRAIN)
    assert (own.sum(), valid.sum()) == (ROWS - 2, len(seen))


def test_a_filter_and_a_merge_read_it_in_parts(
    merged: Store, read: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each group once, and once more to write the rows that are chosen."""
    monkeypatch.setattr(type(merged), "index", property(lambda _: pytest.fail("it is read whole")))
    home = merged.path.rpartition("/")[0]
    subset_store(merged.path, f"{home}/d.vgs", RowFilter(key="plant*"))
    assert whole_ones(read) == list(range(15))
    chosen = open_store(f"{home}/d.vgs")
    assert len(chosen) == 17
    assert [chosen.entry(row)["key"] for row in (0, 16)] == [
        merged.entry(row)["key"] for row in (41, ROWS - 1)
    ]
    merge_stores([merged.path, chosen.path], f"{home}/e.vgs", Overlap.ALL)
    assert len(open_store(f"{home}/e.vgs")) == ROWS + 17


def test_verify_holds_a_few_groups(
    merged: Store, read: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its own index; those of the parts likewise."""
    for kind in (type(merged), Store, ShardedStore):
        monkeypatch.setattr(kind, "index", property(lambda _: pytest.fail("it is read whole")))
    assert merged.verify() == []
    assert set(whole_ones(read)) == set(range(15))


def changed(merged: Store, table: pa.Table) -> Store:
    """The store with another index, and sums for it, as one who means it would."""
    file = Path(merged.path, "index.parquet")
    pq.write_table(table, file, row_group_size=GROUP)
    manifest = Path(merged.path, "manifest.json")
    index = hashlib.sha256(file.read_bytes()).hexdigest()
    write_sealed(manifest, json.loads(manifest.read_text()) | {"index": index})
    return open_store(merged.path)


@pytest.mark.parametrize("merged", ["disk"], indirect=True)
def test_a_group_that_is_wrong_is_told(merged: Store) -> None:
    """When it is read, with the file; a file of another length before any row is."""
    table = pq.read_table(Path(merged.path, "index.parquet"))
    order = np.arange(ROWS)
    order[[20, 21]] = 21, 20
    swapped = changed(merged, table.take(order))
    assert swapped.entry(3)["row"] == 3
    with pytest.raises(StoreError, match=r"index has 4 rows, not rows 20\.\.23 in order\): make"):
        swapped.entry(22)
    with pytest.raises(StoreError, match=f"it has {ROWS - 1} rows, not {ROWS}"):
        changed(merged, table.slice(1)).entry(3)
    with pytest.raises(StoreError, match="has no column part_row"):
        changed(merged, table.drop_columns(["part_row"])).entry(3)
    Path(merged.path, "index.parquet").unlink()
    with pytest.raises(StoreError, match=r"index\.parquet is missing\): make it again"):
        open_store(merged.path).entry(3)
