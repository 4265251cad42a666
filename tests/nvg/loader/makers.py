"""Stores in memory whose rows are told apart by their labels."""

import uuid
from functools import cache

import numpy as np

from nvg.sequence import Sequences
from nvg.store import Store
from tests.nvg.store.makers import (
    empty_store,
    index_table,
    random_arrays,
    write_rows,
)


@cache
def numbered_store(
    rows: int, views: int = 1, bad: tuple[int, ...] = (), val: tuple[int, ...] = ()
) -> Store:
    """A finished store in memory whose row n has label n, and view v token v at stage 0."""
    classes = [str(row) for row in range(rows)]
    path = f"memory://{uuid.uuid4()}/a.vgs"
    store = empty_store(path, rows, views, chunk_rows=16, classes=classes, val_rows=len(val))
    arrays = random_arrays(store, bad=bad)
    arrays["label"] = np.arange(rows, dtype=np.int32)
    arrays["content"][..., 0] = np.arange(views)
    arrays["content"][list(bad)] = 0
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index_table(store, arrays, bad, val))
    store.finish()
    return store


def rows_of(batches: list[Sequences]) -> list[int]:
    """The rows that batches of a numbered store hold, in order."""
    return [row for batch in batches for row in batch.label.tolist()]
