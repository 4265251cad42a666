"""Reading the valid rows of a store, and noticing what is wrong with a chunk."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from nvg.format.base import StoreError
from nvg.loader import LoaderMode, SequenceLoader
from nvg.loader.deal import Deal, Piece
from nvg.loader.epoch import StreamEpoch
from nvg.loader.scratch import Scratch
from nvg.loader.token_reader import TokenReader, may_be_permutation
from nvg.store import Split, Store, open_store
from tests.nvg.store.makers import (
    chunk_file,
    empty_store,
    flip,
    flip_chunk,
    index_table,
    make_plain_store,
    make_store,
    random_arrays,
    swap_chunks,
    write_rows,
)


def test_good_rows_come_chunk_by_chunk(store: Store) -> None:
    """In the order asked for, all views, error rows left out."""
    reader = TokenReader(store)
    assert reader.counts.tolist() == [3, 3, 2]
    tokens = reader.read([reader.pieces[2], reader.pieces[0]])
    rows = [8, 9, 0, 1, 2]
    assert np.array_equal(tokens.leaves, store.leaves[:][rows])
    assert np.array_equal(tokens.content, store.content[:][rows])
    assert np.array_equal(tokens.label, store.label[:][rows])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "tokens of other images": lambda store: swap_chunks(store, "content"),
    "structure of other images": lambda store: swap_chunks(store, "leaves"),
    "labels of other images": lambda store: swap_chunks(store, "label"),
    "a flipped bit": lambda store: flip(chunk_file(store, "content", 1)),
    "a lost leaves file": lambda store: chunk_file(store, "leaves", 1).unlink(),
    "a lost content file": lambda store: chunk_file(store, "content", 1).unlink(),
    "an empty file": lambda store: chunk_file(store, "leaves", 1).write_bytes(b""),
}


@pytest.mark.parametrize("mode", [LoaderMode.MEMORY, LoaderMode.STREAM])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_chunk_is_named(tmp_path: Path, kind: str, mode: LoaderMode) -> None:
    """Nothing is trained on it: the line has the chunk and the remedy."""
    made = make_plain_store(tmp_path / "a.vgs", 12)
    DAMAGE[kind](tmp_path / "a.vgs")
    loader = SequenceLoader(open_store(made.path), 12, mode=mode)
    with pytest.raises(StoreError, match=r"a\.vgs: chunk 1 is damaged .*--resume") as caught:
        list(loader)
    assert len(str(caught.value).splitlines()) == 1


def test_of_several_damaged_chunks_the_first_is_named(tmp_path: Path) -> None:
    """The first that is shown, whichever thread comes to its own first."""
    made = make_store(tmp_path / "a.vgs", 40)
    for chunk in (2, 5, 6, 9):
        flip_chunk(tmp_path / "a.vgs", "content", chunk)
    reader = TokenReader(open_store(made.path))
    for order, first in (([0, 1, 6, 5, 2, 9], 6), ([9, 6, 5, 2], 9), ([3, 2, 4, 9, 6], 2)):
        with pytest.raises(StoreError, match=f"chunk {first} is damaged"):
            reader.read([reader.pieces[chunk] for chunk in order])


@pytest.mark.parametrize(("kind", "count"), [(np.uint8, 256), (np.uint16, 1024)])
def test_leaves_that_cannot_be_are_noticed(kind: type, count: int) -> None:
    """A value that comes twice, all zero, or two that only have the right sum."""
    rng, scratch = np.random.default_rng(0), Scratch()
    leaves = rng.permuted(np.tile(np.arange(count, dtype=kind), (5, 2, 1)), axis=2)
    assert may_be_permutation(leaves, scratch)
    order = np.argsort(leaves[3, 1])
    for changes in ({7: 8}, {7: 8, 9: 8}, dict.fromkeys(range(count), 0)):
        wrong = leaves.copy()
        for old, new in changes.items():
            wrong[3, 1, order[old]] = new
        assert not may_be_permutation(wrong, scratch)
        assert may_be_permutation(wrong[:3], scratch)


def test_tokens_that_are_all_zero_are_no_damage(tmp_path: Path) -> None:
    """A tokenizer may use its first code only; Zarr keeps no file for such a chunk."""
    made = empty_store(tmp_path / "a.vgs", 8)
    arrays = random_arrays(made)
    arrays["content"][:] = 0
    for chunk in range(2):
        write_rows(made, chunk, arrays, index_table(made, arrays))
    made.finish()
    reader = TokenReader(open_store(made.path))
    assert len(reader.read(reader.pieces).label) == 8


def test_only_two_windows_are_in_memory(tmp_path: Path) -> None:
    """At no time is more than the next window read ahead, where chunks come quickly."""
    made = make_store(tmp_path / "a.vgs", 40)
    reader, read = TokenReader(made), list[int]()
    reader.pace.ahead = lambda window, size: 1  # type: ignore[method-assign]  # however slow today
    whole = reader.read

    def counting(pieces: list[Piece], room: int):  # type: ignore[no-untyped-def]
        read.append(len(pieces))
        return whole(pieces, room)

    reader.read = counting  # type: ignore[method-assign,assignment]
    epoch = StreamEpoch(reader, Deal(reader.pieces, 0, 0, 2), 0, 0, False)
    for start in range(0, 40, 4):
        epoch.take(start, start + 4)
        assert len(read) <= start // 8 + 2
    epoch.close()
    assert read == [2] * 5


def test_the_window_after_the_next_begins_while_the_next_is_read(tmp_path: Path) -> None:
    """No core waits for the last chunk of a window; the first window has the cores alone."""
    reader = TokenReader(make_store(tmp_path / "a.vgs", 24))
    begun = [Event() for _ in range(3)]
    whole, number = reader.read, count()

    def waiting(pieces: list[Piece], room: int):  # type: ignore[no-untyped-def]
        own = next(number)
        begun[own].set()
        if own == 0:
            assert not begun[1].wait(0.1)
        if own == 1:
            assert begun[2].wait(20)
        return whole(pieces, room)

    reader.read = waiting  # type: ignore[method-assign,assignment]
    epoch = StreamEpoch(reader, Deal(reader.pieces, 0, 0, 2), 0, 0, False)
    found = epoch.take(0, 24)
    epoch.close()
    assert sorted(found.row.tolist()) == list(range(24))  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", [LoaderMode.MEMORY, LoaderMode.STREAM])
@pytest.mark.parametrize(("split", "chunks"), [(Split.TRAIN, [0, 1, 2]), (Split.VAL, [2, 3, 4])])
def test_chunks_of_the_other_split_are_not_read(
    tmp_path: Path, split: Split, chunks: list[int], mode: LoaderMode
) -> None:
    """All others may be damaged: nothing notices."""
    made = make_store(tmp_path / "a.vgs", 20, bad=(16, 17, 18), val=range(10, 20))
    for chunk in set(range(5)) - set(chunks):
        flip_chunk(tmp_path / "a.vgs", "content", chunk)
    store = open_store(made.path)
    reader = TokenReader(store, split=split)
    assert reader.chunks.tolist() == chunks
    count = store.count(split) - (3 if split is Split.VAL else 0)
    assert reader.counts.sum() == count
    loader = SequenceLoader(store, count, mode=mode, window=2, split=split)
    assert [len(batch) for batch in loader] == [count]
