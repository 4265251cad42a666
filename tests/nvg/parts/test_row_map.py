"""Rows of parts and the chunks they make, against a walk row by row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.parts.part import Part
from nvg.parts.row_map import RowMap

SUM = "0" * 64


def part(first: int, end: int) -> Part:
    return Part(path="a", sha256=SUM, commits=SUM, rows=(first, end))


CHOICE = st.tuples(st.integers(1, 5), st.lists(st.booleans(), max_size=20))
"""Rows of a chunk, and which rows of a part are shown."""


@settings(deadline=None, max_examples=60)
@given(choices=st.lists(CHOICE, min_size=1, max_size=4))
def test_rows_and_chunks_are_those_of_a_walk(choices: list[tuple[int, list[bool]]]) -> None:
    """Every row once, in order; a chunk is all that is shown of one chunk of a part."""
    walk: list[tuple[int, int, int]] = []
    parts, rows = [], []
    for number, (size, shown) in enumerate(choices):
        first = len(walk)
        walk += [(number, row // size, row % size) for row, is_in in enumerate(shown) if is_in]
        rows += [row for row, is_in in enumerate(shown) if is_in]
        parts.append(part(first, len(walk)))
    sizes, counts = [size for size, _ in choices], [len(shown) for _, shown in choices]
    found = RowMap(parts, np.array(rows, np.int64), counts, sizes)
    assert len(found) == len(walk)
    assert found.part_of(np.arange(len(walk))).tolist() == [each[0] for each in walk]
    told: list[tuple[int, int, int]] = []
    for chunk in range(found.chunks):
        number, theirs, inside = found.origin(chunk)
        span = found.chunk_slice(chunk)
        assert span.stop - span.start == len(inside) > 0
        assert span.start == found.starts[chunk] == len(told)
        told += [(number, theirs, int(row)) for row in inside]
    assert told == walk
    assert found.chunks == len({each[:2] for each in walk})


@pytest.mark.parametrize(
    ("spans", "rows", "said"),
    [
        ([(0, 2), (3, 4)], [0, 1, 0], r"are not 0..2 in order"),
        ([(0, 2)], [0, 1, 2], r"are not 0..2 in order"),
        ([(1, 3)], [0, 1, 2], r"are not 0..2 in order"),
        ([], [0], "are not 0..0 in order"),
        ([(0, 3)], [0, 2, 1], "part_row of part 0 is not ascending in 0..4"),
        ([(0, 3)], [0, 1, 1], "not ascending"),
        ([(0, 3)], [-1, 1, 2], "not ascending"),
        ([(0, 1), (1, 3)], [4, 1, 5], "part_row of part 1 is not ascending in 0..4"),
    ],
)
def test_rows_that_cannot_be_are_refused(
    spans: list[tuple[int, int]], rows: list[int], said: str
) -> None:
    """Gaps, overlaps, rows out of order or out of range."""
    parts = [part(*span) for span in spans]
    with pytest.raises(ValueError, match=said):
        RowMap(parts, np.array(rows), [5] * len(parts), [2] * len(parts))
