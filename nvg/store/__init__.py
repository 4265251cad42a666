"""The store on disk (docs/FORMAT.md): open, write, verify, repair, export."""

from nvg.store.store import (
    Store,
    open_store,
    store_exists,
)

__all__ = [
    "Store",
    "open_store",
    "store_exists",
]
