"""The store on disk (docs/FORMAT.md): open, write, verify, repair, export."""

from nvg.store.format import Split
from nvg.store.store import Store, open_store, store_exists
from nvg.store.writer import StoreWriter, open_writer

__all__ = [
    "Split",
    "Store",
    "StoreWriter",
    "open_store",
    "open_writer",
    "store_exists",
]
