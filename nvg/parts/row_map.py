"""Which row of which part each row of a linked store is, and the chunks that this makes.

Legend: R row of the store.

A chunk of a linked store is what it shows of one chunk of a part, so that no chunk is read twice.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nvg.parts.part import Part

Rows = np.ndarray[Any, np.dtype[np.int64]]


class RowMap:
    """Rows in order of their parts, ascending within each.

    `rows` [R] are the rows of the parts, `counts` and `chunk_rows` the sizes of the parts' stores
    and of their chunks. ValueError where the rows cannot be theirs.
    """

    def __init__(
        self, parts: Sequence[Part], rows: Rows, counts: Sequence[int], chunk_rows: Sequence[int]
    ) -> None:
        self.rows, self.chunk_rows = rows, chunk_rows
        ends = [part.rows[1] for part in parts]
        if [part.rows[0] for part in parts] != [0, *ends[:-1]] or ends[-1:] != [len(rows)]:
            raise ValueError(f"the rows of its parts are not 0..{len(rows) - 1} in order")
        self.ends = np.array(ends, np.int64)
        starts: list[Rows] = []
        for number, (part, count) in enumerate(zip(parts, counts, strict=True)):
            own = rows[slice(*part.rows)]
            if len(own) and (own[0] < 0 or own[-1] >= count or (np.diff(own) < 1).any()):
                raise ValueError(f"part_row of part {number} is not ascending in 0..{count - 1}")
            chunks = own // chunk_rows[number]
            is_first = np.append(True, np.diff(chunks) > 0)[: len(own)]
            starts.append(part.rows[0] + np.flatnonzero(is_first))
        self.starts = np.concatenate(starts)
        """First row of each chunk."""
        self.stops = np.append(self.starts[1:], len(rows))[: len(self.starts)]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return len(self.starts)

    def chunk_slice(self, chunk: int) -> slice:
        """Rows of one chunk."""
        return slice(int(self.starts[chunk]), int(self.stops[chunk]))

    def part_of(self, rows: Rows) -> Rows:
        """The number of each row's part."""
        return np.searchsorted(self.ends, rows, side="right")

    def origin(self, chunk: int) -> tuple[int, int, Rows]:
        """The part and the number of its chunk that a chunk shows, and which rows of that chunk."""
        rows = self.rows[self.chunk_slice(chunk)]
        part = int(self.part_of(self.starts[chunk : chunk + 1])[0])
        number = int(rows[0]) // self.chunk_rows[part]
        return part, number, rows - number * self.chunk_rows[part]
