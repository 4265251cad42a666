"""What every source has: class names, digests, and rows held out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources import (
    Row,
    SourceError,
    split_rows,
)
from pipeline.sources.base import digest


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(2, 300))
def test_a_split_parts_the_rows(data: st.DataObject, count: int) -> None:
    """Held out are exactly as many as asked for; both parts keep the order and share no row."""
    heldout = data.draw(st.integers(0, count // 2))
    rows = [Row(str(n), 0) for n in range(count)]
    train, kept = split_rows(rows, heldout)
    assert (len(train), len(kept)) == (count - heldout, heldout)
    assert sorted(train + kept, key=rows.index) == rows
    assert [part == sorted(part, key=rows.index) for part in (train, kept)] == [True, True]
    assert split_rows(rows, heldout) == (train, kept)


def test_a_split_is_spread_over_the_rows() -> None:
    """Every class of a sorted list is held out in its share: here each tenth row."""
    rows = [Row(str(n), n // 100) for n in range(1000)]
    _, kept = split_rows(rows, 100)
    assert [sum(row.label == label for row in kept) for label in range(10)] == [10] * 10


@pytest.mark.parametrize("heldout", [-1, 6, 11])
def test_a_split_leaves_most_rows_to_train_on(heldout: int) -> None:
    """A negative number, or more than half of ten rows, is refused by the name of the key."""
    with pytest.raises(SourceError, match=rf"data\.heldout {heldout}\b.*0\.\.5"):
        split_rows([Row(str(n), 0) for n in range(10)], heldout)


def test_a_digest_tells_lines_apart() -> None:
    """Also where the text in a row is the same."""
    assert digest(["ab", "c"]) != digest(["a", "bc"]) != digest(["abc"])
    assert digest(iter(["a"])) == digest(["a"])
