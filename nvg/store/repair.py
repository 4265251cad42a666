"""Withdraw the commits of chunks that are damaged, so that the next pass writes them again."""

from collections.abc import Callable, Iterable

import pyarrow as pa

from nvg.store.damage import DamageError
from nvg.store.store import Store
from nvg.store.writer import StoreWriter


def withdraw_damaged(
    store: StoreWriter, progress: Callable[[Iterable[int]], Iterable[int]] = iter
) -> list[int]:
    """Re-read every committed chunk and withdraw those that `verify` would name; their numbers.

    WorkError, and nothing is withdrawn, when storage fails while reading.

    This makes a finished store unfinished. It writes the index parts of the intact chunks first,
    then the manifest, and removes the records last, so that a kill in between loses nothing.
    """
    committed, parts = store.committed(), {}
    for chunk in progress(committed):
        part = _intact_part(store, chunk)
        if part is not None:
            parts[chunk] = part
    if store.finished and len(parts) < store.chunks:
        for chunk, part in parts.items():
            store.write_index_part(chunk, part)
        store.reopen()
    damaged = [chunk for chunk in committed if chunk not in parts]
    for chunk in damaged:
        store.withdraw(chunk)
    return damaged


def damaged_weights(store: Store) -> list[str]:
    """Names of the weights files that are not what the manifest says, or are missing."""
    return [name for name in store.manifest.weights if not store.is_intact(name)]


def _intact_part(store: Store, chunk: int) -> pa.Table | None:
    """The index rows of a chunk in which nothing is wrong, else None."""
    try:
        return None if store.chunk_faults(chunk) else store.index_part(chunk)
    except DamageError:
        return None
