"""The first view of chosen rows: what is measured, rather than trained on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from nvg.sequence import Sequences
from nvg.store import Store
from nvg.store.format import ARRAYS

Rows = np.ndarray[Any, Any]


def spread(rows: Rows, most: int) -> Rows:
    """At most so many of the rows, from all over: a store may be sorted by class."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]


def first_views(store: Store, rows: Rows, batch: int, device: torch.device) -> Iterator[Sequences]:
    """The first view of these rows, ascending, batch by batch on the device."""
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        with store.shown(f"row {part[0]} or one after it"):
            leaves, content, label = (
                torch.from_numpy(store.stored_rows(name, part)) for name in ARRAYS
            )
        first = leaves[:, 0], content[:, 0]
        yield Sequences(*first, label, torch.from_numpy(part)).to(device)
