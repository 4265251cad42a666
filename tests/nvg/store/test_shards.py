"""Which chunks and shards there are."""

from pathlib import Path

import pytest

from nvg.store.shard_writer import ShardedWriter
from tests.nvg.store.makers import empty_store, index_table, make_store, random_arrays, write_rows


def test_chunks_and_shards_of_rows(tmp_path: Path) -> None:
    """22 rows are 6 chunks of 4 and 3 shards of 8, the last ones shorter."""
    store = empty_store(tmp_path / "a.vgs", 22)
    assert isinstance(store, ShardedWriter)
    assert (store.chunks, store.shards, store.per_shard) == (6, 3, 2)
    assert [store.chunks_of(shard) for shard in range(3)] == [range(2), range(2, 4), range(4, 6)]
    assert store.shard_slice(2) == slice(16, 22)


def test_what_is_committed_waits_or_is_sealed(tmp_path: Path) -> None:
    """Chunks in any order; a shard is sealed with its last one. Other files mean nothing."""
    store = empty_store(tmp_path / "a.vgs", 22)
    assert isinstance(store, ShardedWriter)
    arrays = random_arrays(store)
    index = index_table(store, arrays)
    seen = []
    for chunk in (3, 5, 0, 2):
        write_rows(store, chunk, arrays, index)
        seen.append((store.committed(), store.sealed(), store.staged(chunk // 2)))
    assert seen == [
        ([3], [], [3]),
        ([3, 5], [], [5]),
        ([0, 3, 5], [], [0]),
        ([0, 2, 3, 5], [1], []),
    ]
    (tmp_path / "a.vgs" / "staging" / "00000" / "notes.txt").touch()
    (tmp_path / "a.vgs" / "commits" / "00000.json.copy").touch()
    data = (tmp_path / "a.vgs" / "staging" / "00000" / "0000000.parquet").read_bytes()
    for stray in (
        *("commits/000000.json", "commits/٠٠٠٠٠.json", "staging/00000/00000001.parquet"),
        *("staging/00002/0000001.parquet", "staging/99999/0199998.parquet"),
        *("staging/00000/0000002.parquet", "staging/000000/0000001.parquet"),
    ):
        (tmp_path / "a.vgs" / stray).parent.mkdir(exist_ok=True)
        (tmp_path / "a.vgs" / stray).write_bytes(data)
    assert store.committed() == [0, 2, 3, 5]
    assert [store.is_sealed(shard) for shard in range(3)] == [False, True, False]


def test_a_shard_that_is_sealed_while_others_look_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks wait when they are listed, and do no more when the records are."""
    store = empty_store(tmp_path / "a.vgs", 22)
    assert isinstance(store, ShardedWriter)
    arrays = random_arrays(store)
    with monkeypatch.context() as patch:
        patch.setattr(ShardedWriter, "seal_if_whole", lambda *_: None)
        for chunk in (0, 1, 2):
            write_rows(store, chunk, arrays, index_table(store, arrays))
    sealed = store.sealed

    def late() -> list[int]:
        store.seal_if_whole(0)
        return sealed()

    monkeypatch.setattr(store, "sealed", late)
    assert store.committed() == [0, 1, 2]


def test_a_finished_store_has_few_files(tmp_path: Path) -> None:
    """For each shard one for each array, a part of the index and a record; nothing waits."""
    make_store(tmp_path / "a.vgs", 22)
    files = [str(f.relative_to(tmp_path / "a.vgs")) for f in tmp_path.rglob("*") if f.is_file()]
    for folder in ("leaves/c", "content/c", "label/c", "index", "commits"):
        assert sum(file.startswith(folder) for file in files) == 3
    others = {file for file in files if "/" not in file}
    assert others == {
        *("manifest.json", "zarr.json", "chunks.parquet"),
        *("tokenizer.safetensors", "detokenizer.safetensors"),
    }
    assert not (tmp_path / "a.vgs" / "staging").exists()
