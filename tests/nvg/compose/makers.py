"""Small stores to link, and the store that holds the same rows itself."""

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.format.base import INDEX_SCHEMA
from nvg.store import Store
from tests.nvg.store.makers import empty_store, make_store, write_rows

ANIMALS, PLANTS = ("ant", "bee", "cat"), ("oak", "bee", "fir", "ant")


def memory() -> str:
    """A new folder in memory."""
    return f"memory://{uuid.uuid4()}"


def two_stores(home: str, one: int = 10, other: int = 7, **sizes: Any) -> tuple[Store, Store]:
    """Stores with other keys, classes, chunks and splits, each with an error row if it has two."""
    return (
        make_store(f"{home}/a.vgs", one, classes=ANIMALS, bad=range(1, min(one, 2)), **sizes),
        make_store(
            f"{home}/b.vgs",
            other,
            seed=1,
            key="plant",
            classes=PLANTS,
            chunk_rows=3,
            val=range(1, min(other, 3)),
            bad=range(3, min(other, 4)),
            **sizes,
        ),
    )


def copied(path: str, rows: Sequence[tuple[Store, int]], classes: Sequence[str]) -> Store:
    """A store of these rows, each copied from its store by itself."""
    arrays = {
        name: np.stack([store.group[name][row] for store, row in rows])
        for name in rows[0][0].arrays
    }
    entries = [store.index.slice(row, 1).to_pylist()[0] for store, row in rows]
    for number, entry in enumerate(entries):
        entry["row"] = number
        entry["label"] = list(classes).index(entry["class"])
        arrays["label"][number] = entry["label"]
    val = sum(entry["split"] == "val" for entry in entries)
    store = empty_store(
        path, len(rows), len(rows[0][0].manifest.views), classes=classes, val_rows=val
    )
    table = pa.Table.from_pylist(entries, INDEX_SCHEMA)
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, table)
    store.finish()
    return store
