"""Writing shards: any order, any number of writers, and a kill at any moment loses no chunk."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.format.base import StoreError
from nvg.store import open_store, open_writer
from nvg.store.repair import withdraw_damaged
from nvg.store.shard_writer import ShardedWriter
from nvg.store.writer import StoreWriter
from tests.makers import files_below
from tests.nvg.store.makers import (
    empty_store,
    flip_chunk,
    index_table,
    make_store,
    random_arrays,
    random_codec,
    same_arrays,
    write_rows,
)

ROWS, CHUNKS = 22, 6


class Killed(BaseException):
    """The process ends here."""


def fill(path: Path, chunks: list[int], finish: bool = True) -> None:
    """Write some chunks of the store of `make_store` there, opening it anew for each."""
    for chunk in chunks:
        store = open_writer(str(path))
        arrays = random_arrays(store, 0, (3,))
        write_rows(store, chunk, arrays, index_table(store, arrays, (3,)))
    if finish:
        open_writer(str(path)).finish()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a store that was written in order."""
    path = tmp_path_factory.mktemp("calm") / "a.vgs"
    make_store(path, ROWS, bad=(3,))
    return files_below(path)


@pytest.mark.thorough
@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(CHUNKS)))
def test_any_order_gives_the_same_files(
    tmp_path_factory: pytest.TempPathFactory, calm: dict[str, bytes], order: list[int]
) -> None:
    """Byte for byte."""
    path = tmp_path_factory.mktemp("order") / "a.vgs"
    empty_store(path, ROWS)
    fill(path, order)
    assert files_below(path) == calm


def killing(method: Callable[..., Any], at: int) -> Callable[..., Any]:
    """The method, of which the call of that number is the end of the process."""
    calls = iter(range(10**6))

    def called(*arguments: Any) -> Any:
        if next(calls) == at:
            raise Killed
        return method(*arguments)

    return called


@pytest.mark.parametrize(
    ("name", "at"),
    [
        pytest.param(name, at, marks=pytest.mark.thorough if at % 3 else ())
        for name, calls in (("write", 14), ("_remove", 6))
        for at in range(calls)
    ],
)
def test_a_kill_before_any_file_costs_one_chunk_at_most(
    tmp_path: Path, calm: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    """While chunks are written and shards sealed; what counted before still counts."""
    path = tmp_path / "a.vgs"
    empty_store(path, ROWS)
    fill(path, [0], finish=False)
    kind = StoreWriter if name == "write" else ShardedWriter
    with monkeypatch.context() as patch:
        patch.setattr(kind, name, killing(getattr(kind, name), at))
        with pytest.raises(Killed):
            fill(path, [1, 2, 3, 4, 5])
    store = open_writer(str(path))
    assert 0 in store.committed()
    store.sweep()
    assert withdraw_damaged(store) == []
    fill(path, sorted(set(range(CHUNKS)) - set(store.committed())))
    assert files_below(path) == calm
    assert open_store(str(path)).verify() == []


@pytest.mark.thorough
def test_writers_at_once_give_the_same_files(tmp_path: Path, calm: dict[str, bytes]) -> None:
    """Four processes, each with chunks of every shard, and one more that finishes."""
    path = tmp_path / "a.vgs"
    empty_store(path, ROWS)
    children = []
    for own in ([0, 3], [1, 4], [2], [5]):
        child = os.fork()
        if not child:
            try:
                fill(path, own, finish=False)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    open_writer(str(path)).finish()
    assert files_below(path) == calm


def test_two_that_seal_one_shard_agree(
    tmp_path: Path, calm: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other has sealed it, and removed what waited, when this one looks."""
    path = tmp_path / "a.vgs"
    empty_store(path, ROWS)
    fill(path, [0], finish=False)
    store, seal = open_writer(str(path)), ShardedWriter._seal
    assert isinstance(store, ShardedWriter)

    def late(own: ShardedWriter, shard: int) -> None:
        with monkeypatch.context() as inner:
            inner.setattr(ShardedWriter, "_seal", seal)
            other = open_writer(str(path))
            assert isinstance(other, ShardedWriter)
            other.seal_if_whole(shard)
        seal(own, shard)

    with monkeypatch.context() as patch:
        patch.setattr(ShardedWriter, "_seal", late)
        fill(path, [1], finish=False)
    fill(path, [2, 3, 4, 5])
    assert files_below(path) == calm


def test_a_damaged_chunk_that_waits_is_made_again(tmp_path: Path, calm: dict[str, bytes]) -> None:
    """It is not sealed with the others, and resuming withdraws it."""
    path = tmp_path / "a.vgs"
    empty_store(path, ROWS)
    fill(path, [0, 2, 3], finish=False)
    file = path / "staging" / "00000" / "0000000.parquet"
    tokens = random_arrays(open_store(str(path)), 0, (3,))["content"][0].tobytes()
    file.write_bytes(file.read_bytes().replace(tokens, bytes(len(tokens))))
    with pytest.raises(StoreError, match=r"0000000\.parquet is damaged: repair it with"):
        fill(path, [1], finish=False)
    store = open_writer(str(path))
    assert store.committed() == [0, 1, 2, 3]
    assert withdraw_damaged(store) == [0]
    fill(path, [0, 4, 5])
    assert files_below(path) == calm


def test_a_missing_chunk_keeps_it_unfinished(tmp_path: Path) -> None:
    """As in version 1; arrays of another shape are refused before anything is written."""
    path = tmp_path / "a.vgs"
    store = empty_store(path, ROWS)
    fill(path, [0, 1, 2, 3, 4], finish=False)
    with pytest.raises(StoreError, match="5 of 6 chunks are committed"):
        open_writer(str(path)).finish()
    arrays = random_arrays(store)
    with pytest.raises(ValueError, match="leaves has shape"):
        store.write_chunk(5, arrays, index_table(store, arrays))
    assert store.committed() == [0, 1, 2, 3, 4]


def test_withdrawing_lets_the_others_wait(tmp_path: Path, calm: dict[str, bytes]) -> None:
    """Their bytes come back when the lost one does."""
    path = tmp_path / "a.vgs"
    make_store(path, ROWS, bad=(3,))
    store = open_writer(str(path))
    store.withdraw_chunks([2, 5])
    assert not store.finished
    assert store.committed() == [0, 1, 3, 4]
    assert same_rows(store, [0, 1, 3, 4])
    fill(path, [2, 5])
    assert files_below(path) == calm


def same_rows(store: StoreWriter, chunks: list[int]) -> bool:
    """Whether these chunks hold what was written."""
    arrays = random_arrays(store, 0, (3,))
    return all(
        np.array_equal(store.stored(name, chunk), arrays[name][store.chunk_slice(chunk)])
        for chunk in chunks
        for name in store.arrays
    )


def test_features_lie_in_shards_too(tmp_path: Path) -> None:
    """As any array."""
    store = make_store(tmp_path / "a.vgs", ROWS, codec=random_codec())
    assert same_arrays(store, random_arrays(store))
    assert store.verify() == []


def test_a_damaged_chunk_is_named_before_a_store_grows(tmp_path: Path) -> None:
    """It would wait for the new ones; nothing of the store has changed then."""
    path = tmp_path / "a.vgs"
    make_store(path, ROWS)
    flip_chunk(path, "content", 4)
    before, store = files_below(path), open_writer(str(path))
    with pytest.raises(StoreError, match=r"a\.vgs: chunk 4 is damaged \(CRC32C .*: repair it with"):
        store.lengthen(b"order", store.manifest)
    assert files_below(path) == before
