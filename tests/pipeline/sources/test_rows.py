"""Rows by their numbers: as a list of them, but for the memory that it takes."""

import pickle
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.store import Split
from pipeline.sources import Row, Rows, SourceError, split_rows
from pipeline.sources.rows import Entry, PartListing


class Numbered(PartListing):
    """A listing whose keys are part and number, and that notes what is listed."""

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__(counts)
        self.listed: list[tuple[int, int, int]] = []

    def part(self, part: int, first: int, stop: int) -> list[Entry]:
        self.listed.append((part, first, stop))
        return [(f"{part}:{number}", part % 3) for number in range(first, stop)]


COUNTS = st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=8)


def both(counts: list[tuple[int, bool]]) -> tuple[Rows, list[Row]]:
    """Rows of parts that are held out or not, and the same as a list, made one by one."""
    sizes, held = [count for count, _ in counts], [is_held for _, is_held in counts]
    found = Rows.split(Numbered(sizes), held, sizes)
    plain = [
        Row(f"{part}:{number}", part % 3, Split.VAL if held else Split.TRAIN)
        for part, (count, held) in enumerate(counts)
        for number in range(count)
    ]
    return found, plain


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, data=st.data())
def test_rows_are_a_sequence(counts: list[tuple[int, bool]], data: st.DataObject) -> None:
    """Slices of any step, single rows, sums and what is left out are those of the list."""
    rows, plain = both(counts)
    bound, step = st.none() | st.integers(-12, 40), st.sampled_from([None, -2, -1, 1, 3])
    part = slice(data.draw(bound), data.draw(bound), data.draw(step))
    assert (len(rows), list(rows)) == (len(plain), plain)
    assert rows == plain
    assert list(rows[part]) == plain[part]
    again = data.draw(st.slices(max(len(plain[part]), 1)))
    assert list(rows[part][again]) == plain[part][again]
    assert list(rows[part] + rows) == plain[part] + plain
    assert rows.of_split(Split.VAL) == [row for row in plain if row.split is Split.VAL]
    assert rows.splits() == {row.split for row in plain}
    places = sorted(data.draw(st.sets(st.integers(0, max(len(plain) - 1, 0)), max_size=len(plain))))
    taken = np.array(places, np.int64)
    assert rows.take(taken) == [plain[n] for n in places]
    assert rows.without(taken) == [row for n, row in enumerate(plain) if n not in places]
    assert rows[part].loaded() == plain[part]
    assert pickle.loads(pickle.dumps(rows)) == Rows.of(plain)
    for n in places[:2]:
        assert rows[n] == plain[n] == rows[n - len(plain)]
    with pytest.raises(IndexError):
        rows[len(plain)]


@settings(deadline=None, max_examples=50)
@given(counts=COUNTS, size=st.integers(1, 7), data=st.data())
def test_blocks_in_another_order(
    counts: list[tuple[int, bool]], size: int, data: st.DataObject
) -> None:
    """Neighbours stay together and in order, across parts and splits; the last block is shorter."""
    rows, plain = both(counts)
    blocks = [plain[start : start + size] for start in range(0, len(plain), size)]
    order = data.draw(st.permutations(range(len(blocks))))
    found = rows.in_blocks(np.array(order, np.int64), size)
    assert found == [row for block in order for row in blocks[block]]
    assert len(found.firsts) <= len(blocks) + len(counts)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(2, 300))
def test_a_split_parts_the_rows(data: st.DataObject, count: int) -> None:
    """Held out are exactly as many as asked for; both parts keep the order and share no row."""
    heldout = data.draw(st.integers(0, count // 2))
    rows = [Row(str(n), 0) for n in range(count)]
    train, kept = split_rows(rows, heldout)
    assert (len(train), len(kept)) == (count - heldout, heldout)
    assert sorted([*train, *kept], key=rows.index) == rows
    assert [list(part) == sorted(part, key=rows.index) for part in (train, kept)] == [True, True]
    assert split_rows(rows, heldout) == (train, kept)


def test_a_split_is_spread_over_the_rows() -> None:
    """Every class of a sorted list is held out in its share: here each tenth row."""
    rows = [Row(str(n), n // 100) for n in range(1000)]
    _, kept = split_rows(rows, 100)
    assert [sum(row.label == label for row in kept) for label in range(10)] == [10] * 10
    assert [row.key for row in kept[:3]] == ["0", "10", "20"]


@pytest.mark.parametrize("heldout", [-1, 6, 11])
def test_a_split_leaves_most_rows_to_train_on(heldout: int) -> None:
    """A negative number, or more than half of ten rows, is refused by the name of the key."""
    with pytest.raises(SourceError, match=rf"data\.heldout {heldout}\b.*0\.\.5"):
        split_rows([Row(str(n), 0) for n in range(10)], heldout)


def test_a_part_is_listed_once_and_no_further_than_needed() -> None:
    """Whatever the order; rows that are not asked for are of no part that is listed."""
    rows, plain = both([(5, False), (100, False), (7, True)])
    listing = rows.listing
    assert isinstance(listing, Numbered)
    assert list(rows.take(np.array([30, 2, 20, 0]))) == [plain[n] for n in (30, 2, 20, 0)]
    assert listing.listed == [(0, 0, 3), (1, 15, 26)]
    listing.listed.clear()
    assert len(split_rows(rows[:105], 20)[0]) == 85
    assert listing.listed == []


def test_odd_names_stay_as_they_are() -> None:
    """Keys in memory are bytes: not of ASCII, with a line break, or with half a character."""
    rows = [Row(key, n) for n, key in enumerate(["é", "", "a\nb", "\ud800", "日本"])]
    assert list(Rows.of(rows)) == rows
    assert "Row(key='é', label=0" in repr(Rows.of(rows))


def test_memory_is_bounded_by_parts() -> None:
    """10 million rows in 1,000 parts, every hundredth held out: parts, and what is held out."""
    tracemalloc.start()
    try:
        listing = Numbered([10_000] * 1000)
        rows = Rows.split(listing, [False] * 1000, [10_000] * 1000)
        kept = tracemalloc.get_traced_memory()[0]
        train, held = split_rows(rows, 100_000)
        chunks = [train[start : start + 1024] for start in range(0, len(train), 10_240)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(train), len(held), len(chunks)) == (9_900_000, 100_000, 967)
    assert kept < 64 * 1000
    assert peak < 30e6
    assert listing.listed == []
    place = 500 * 10_240 + 7
    part, number = divmod(place + place // 99 + 1, 10_000)  # one is held out before 99 others
    assert chunks[500][7].key == f"{part}:{number}"
