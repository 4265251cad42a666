"""Withdraw the commits of chunks that are damaged, so that the next pass writes them again."""

from collections.abc import Callable, Container, Iterable

from nvg.format.damage import DamageError
from nvg.store.store import Store
from nvg.store.writer import StoreWriter


def withdraw_damaged(
    store: StoreWriter,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    own: Container[int] | None = None,
) -> list[int]:
    """Re-read every committed chunk and withdraw those that `verify` would name; their numbers.

    Only those of its `own`, where other writers see to the others.

    WorkError, and nothing is withdrawn, when storage fails while reading.

    This makes a finished store unfinished, see `StoreWriter.withdraw_chunks`.
    """
    committed = [chunk for chunk in store.committed() if own is None or chunk in own]
    damaged = [chunk for chunk in progress(committed) if _has_faults(store, chunk)]
    store.withdraw_chunks(damaged)
    store.withdraw_counts()
    return damaged


def damaged_weights(store: Store) -> list[str]:
    """Names of the weights files that are not what the manifest says, or are missing."""
    return [name for name in store.manifest.weights if not store.is_intact(name)]


def _has_faults(store: Store, chunk: int) -> bool:
    """Whether anything is wrong with a chunk or its index rows."""
    try:
        return bool(store.chunk_faults(chunk))
    except DamageError:
        return True
