"""The store: what is written comes back, chunk by chunk, and reading changes nothing."""

import json
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.format.base import ARRAYS, SPLIT, StoreError, digest, read_parquet
from nvg.format.index import rows_digest
from nvg.loader import SequenceLoader
from nvg.store import Split, Store, StoreWriter, open_store, open_writer
from tests.makers import files_below
from tests.nvg.store.makers import (
    empty_plain_store,
    index_table,
    make_plain_store,
    make_store,
    random_arrays,
    rewrite_index,
    same_arrays,
    tokenizer_files,
    write_rows,
    write_store,
)
from tests.nvg.tokenizer.makers import tiny_model

few = settings(deadline=None, max_examples=25)
OLD_STORE = Path(__file__).parents[2] / "golden" / "v0.1" / "tokens.vgs"


@pytest.mark.thorough
@few
@given(
    rows=st.integers(1, 30),
    views=st.integers(1, 2),
    chunk_rows=st.integers(1, 12),
    grid=st.sampled_from([2, 4, 8]),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_what_is_written_comes_back(
    rows: int, views: int, chunk_rows: int, grid: int, seed: int, data: st.DataObject
) -> None:
    """Arrays and index are read back exactly, for any size, and whichever rows are errors."""
    bad = data.draw(st.sets(st.integers(0, rows - 1), max_size=rows))
    with TemporaryDirectory() as directory:
        path = f"{directory}/a.vgs"
        sizes: dict[str, Any] = {"grid": grid, "chunk_rows": chunk_rows, "codebook_size": 65536}
        made = write_store(path, rows, views, seed=seed, bad=bad, shard_rows=None, **sizes)
        arrays = random_arrays(made, seed, bad)
        store = open_store(path)
        assert same_arrays(store, arrays)
        assert store.index.to_pylist() == index_table(made, arrays, bad).to_pylist()
        assert store.ok_rows().tolist() == [row for row in range(rows) if row not in bad]
        assert (len(store), store.geometry.grid, store.manifest.errors) == (rows, grid, len(bad))


@few
@given(rows=st.integers(1, 100), chunk_rows=st.integers(1, 40))
def test_chunks_partition_the_rows(rows: int, chunk_rows: int) -> None:
    """The slices of all chunks are the rows 0..N-1, in order and without overlap."""
    store = empty_plain_store(f"memory://{uuid.uuid4()}/a.vgs", rows, chunk_rows=chunk_rows)
    parts = [list(range(rows))[store.chunk_slice(chunk)] for chunk in range(store.chunks)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert all(len(part) == chunk_rows for part in parts[:-1])


def test_a_store_lives_on_any_filesystem() -> None:
    """The same calls work on an fsspec URL, here in memory."""
    path = f"memory://{uuid.uuid4()}/a.vgs"
    made = make_plain_store(path, 10, 2, bad=(3,))
    store = open_store(path)
    assert same_arrays(store, random_arrays(made, bad=(3,)))
    assert store.verify() == []
    assert len(SequenceLoader(store, batch_size=9)) == 1


def test_a_store_in_memory_equals_one_on_disk(tmp_path: Path) -> None:
    """File for file, the same bytes are written wherever the store lives."""
    path = f"memory://{uuid.uuid4()}/a.vgs"
    made = write_store(path, 10, 2, shard_rows=None)
    local = write_store(tmp_path / "a.vgs", 10, 2, shard_rows=None)
    found = {name.removeprefix(f"{made.root}/"): name for name in made.fs.find(made.root)}
    assert {key: made.fs.cat_file(name) for key, name in found.items()} == files_below(local.path)


@pytest.mark.parametrize("name", ["with space.vgs", "year=2025.vgs", "[a-b].vgs", "a*b?.vgs"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    """A directory name with spaces or the signs of globbing is a name like any other."""
    made = make_plain_store(tmp_path / name, 6)
    assert open_store(made.path).verify() == []


def test_an_unfinished_store_knows_what_is_committed(tmp_path: Path) -> None:
    """Only chunks that are written count, and the index shows just their rows."""
    store = empty_plain_store(tmp_path / "a.vgs", 10)
    arrays = random_arrays(store)
    assert (store.finished, store.committed(), len(store.index)) == (False, [], 0)
    write_rows(store, 2, arrays, index_table(store, arrays))
    write_rows(store, 0, arrays, index_table(store, arrays))
    again = open_store(store.path)
    assert (again.finished, again.committed()) == (False, [0, 2])
    assert again.index["row"].to_pylist() == [0, 1, 2, 3, 8, 9]


def test_a_commit_record_says_what_was_written(store: Store) -> None:
    """Rows, error count and a SHA-256 of each array's bytes, and of the index rows."""
    record = store.commit_record(1)
    assert (record.chunk, record.rows, record.errors) == (1, (4, 8), 1)
    sums = {name: digest(store.group[name][4:8]) for name in ARRAYS}
    assert record.sha256 == {**sums, "index_rows": rows_digest(store.index.slice(4, 4))}


def test_an_unfinished_store_is_no_training_data(tmp_path: Path) -> None:
    """The loader refuses it and names the remedy."""
    store = empty_plain_store(tmp_path / "a.vgs", 10)
    with pytest.raises(StoreError, match=r"0 of 3 chunks.*--resume"):
        SequenceLoader(store, batch_size=1)


MANIFEST = {"format": "nvg-store", "version": 1, "grid": 4}


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "not json",
        "[]",
        '"text"',
        json.dumps(MANIFEST | {"format": "another"}),
        json.dumps(MANIFEST | {"version": 2}),
        json.dumps({"grid": 4}),
    ],
)
def test_what_is_no_store_is_refused_by_name(tmp_path: Path, text: str | None) -> None:
    """A folder without a manifest, or with another's, is a one-line StoreError with its path."""
    (tmp_path / "x.vgs").mkdir()
    if text is not None:
        (tmp_path / "x.vgs" / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=r"x\.vgs") as caught:
        open_store(str(tmp_path / "x.vgs"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_path_is_no_store(tmp_path: Path) -> None:
    """So is a path that is not there."""
    with pytest.raises(StoreError, match=r"absent\.vgs is not a store"):
        open_store(str(tmp_path / "absent.vgs"))


def test_a_file_is_no_store(tmp_path: Path) -> None:
    """So is a file, say a weights file named by mistake."""
    (tmp_path / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"weights\.safetensors"):
        open_store(str(tmp_path / "weights.safetensors"))


def test_a_store_without_its_arrays_says_so(store: Store) -> None:
    """A lost zarr.json is a StoreError when the arrays are asked for."""
    Path(store.path, "zarr.json").unlink()
    with pytest.raises(StoreError, match=r"zarr\.json"):
        _ = open_store(store.path).leaves


def test_a_store_opens_with_its_own_tokenizer_only(store: Store) -> None:
    """The fingerprint it was made with is accepted, any other refused with both named."""
    own = store.manifest.tokenizer
    store.require_tokenizer(own)
    with pytest.raises(StoreError, match=f"{own[:12]}.*{'f' * 12}"):
        store.require_tokenizer("f" * 64)


def test_a_store_carries_its_weights(store: Store) -> None:
    """Codebook and refiners, and the decoder, are read back as they were given."""
    for name, data in tokenizer_files(tiny_model())[0].items():
        assert store.read(name) == data


def test_a_store_may_be_moved(store: Store, tmp_path: Path) -> None:
    """Nothing in it refers to where it lies."""
    shutil.move(store.path, tmp_path / "elsewhere.vgs")
    assert open_store(str(tmp_path / "elsewhere.vgs")).verify() == []


def test_reading_does_not_write(store: Store) -> None:
    """A store opened to read refuses to be changed, and has no method that would."""
    with pytest.raises(ValueError, match="read"):
        open_store(store.path).label[0] = 1
    changes = ("write", "write_chunk", "write_index_part", "withdraw", "reopen", "finish")
    assert [name for name in changes if hasattr(Store, name)] == []
    assert [name for name in changes if not hasattr(StoreWriter, name)] == []


def test_a_store_opens_without_torch() -> None:
    """Reading and checking tokens needs numpy, Zarr and Arrow only."""
    code = (
        "import sys, nvg.store, nvg.store.export, nvg.store.layout, nvg.store.lock\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_entry_is_found_by_its_row(store: Store) -> None:
    """Several come in the order asked for; a row out of range or without tokens is named."""
    assert store.entry(2)["key"] == "image-2"
    assert [entry["row"] for entry in store.entries([7, 0])] == [7, 0]
    assert store.token_entries([0, 1])[1] == store.entry(1)
    for row in (-1, 10):
        with pytest.raises(StoreError, match=rf"row {row} is out of range: .* has 0\.\.9"):
            store.entry(row)
    with pytest.raises(StoreError, match=r"row 3 of .* has no tokens: not an image"):
        store.token_entries([0, 3])


def test_a_row_that_has_lost_its_residuals_is_named(tmp_path: Path) -> None:
    """Which verify tells of by the checksum of the chunk's rows."""
    store = make_store(tmp_path / "a.vgs", 10)
    at = store.index.column_names.index("stage_error")
    kind = store.index.schema.field(at)
    rewrite_index(store, store.index.set_column(at, kind, pa.nulls(10, kind.type)))
    again = open_store(store.path)
    with pytest.raises(StoreError, match=r"row 3 of .* has lost its residuals; `nvgctl verify`"):
        again.token_entries([3])
    assert len(again.verify()) == again.chunks


def test_an_entry_that_is_not_committed_is_named(tmp_path: Path) -> None:
    """An unfinished store has the entries of its committed chunks, under their own rows."""
    store = empty_plain_store(tmp_path / "a.vgs", 10)
    arrays = random_arrays(store)
    write_rows(store, 1, arrays, index_table(store, arrays))
    assert store.entry(5)["key"] == "image-5"
    with pytest.raises(StoreError, match="row 1 is not committed yet"):
        store.entry(1)


def test_rows_are_told_apart_by_split(tmp_path: Path) -> None:
    """Counts, rows with tokens and entries of each; without a column all rows train."""
    store = open_store(make_plain_store(tmp_path / "a.vgs", 10, bad=(1, 8), val=(2, 8, 9)).path)
    assert (store.count(Split.TRAIN), store.count(Split.VAL)) == (7, 3)
    assert store.ok_rows().tolist() == [0, 3, 4, 5, 6, 7]
    assert store.ok_rows(Split.VAL).tolist() == [2, 9]
    assert store.ok_rows(None).tolist() == [0, 2, 3, 4, 5, 6, 7, 9]
    assert [entry["split"] for entry in store.entries([9, 0])] == ["val", "train"]
    assert store.verify() == []
    plain = make_plain_store(tmp_path / "b.vgs", 10)
    assert SPLIT not in read_parquet(plain.read("index.parquet")).column_names
    assert set(open_store(plain.path).index[SPLIT].to_pylist()) == {"train"}


def test_a_store_of_version_0_1_is_all_for_training() -> None:
    """Its recipe held images out; none of them is in it."""
    store = open_store(str(OLD_STORE))
    assert store.manifest.recipe["data"]["heldout"] == 2
    assert (store.count(Split.TRAIN), store.count(Split.VAL)) == (len(store), 0)
    assert store.index[SPLIT].to_pylist() == ["train"] * len(store)
    assert store.ok_rows().tolist() == store.ok_rows(None).tolist()


def test_tokens_of_rows_come_as_asked_for(store: Store) -> None:
    """In any order, also twice, all views; what cannot be is refused with the row."""
    leaves, content = store.row_tokens([8, 0, 8, 2])
    assert np.array_equal(leaves, store.leaves[:][[8, 0, 8, 2]])
    assert np.array_equal(content, store.content[:][[8, 0, 8, 2]])
    writer = open_writer(store.path)
    writer.group["content"][2, 0, 5] = 9999
    with pytest.raises(StoreError, match=r"row 2 .*token 9999 is outside the codebook of 16"):
        open_store(store.path).row_tokens([2])
