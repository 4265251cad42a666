"""The first view of chosen rows: what is measured, rather than trained on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from nvg.format.base import ARRAYS
from nvg.loader.token_reader import intact
from nvg.sequence import Sequences
from nvg.store import Store

Rows = np.ndarray[Any, Any]


def spread(rows: Rows, most: int) -> Rows:
    """At most so many of the rows, from all over: a store may be sorted by class."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]


def first_views(store: Store, rows: Rows, batch: int, device: torch.device) -> Iterator[Sequences]:
    """The first view of these rows, ascending, batch by batch on the device.

    StoreError for a chunk that is not what was written.
    """
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        chunks = np.searchsorted(store.chunk_starts, part, side="right") - 1
        found = []
        for chunk in np.unique(chunks).tolist():
            own = part[chunks == chunk] - store.chunk_slice(chunk).start
            arrays = intact(store, chunk, ARRAYS)
            found.append(
                (arrays["leaves"][own, 0], arrays["content"][own, 0], arrays["label"][own])
            )
        leaves, content, label = (
            torch.from_numpy(np.concatenate(each)) for each in zip(*found, strict=True)
        )
        yield Sequences(leaves, content, label, torch.from_numpy(part)).to(device)
