"""The store on disk (docs/FORMAT.md): open, write, verify, repair, export."""

from nvg.store.format import Split
from nvg.store.linked import open_store
from nvg.store.store import Store, store_exists
from nvg.store.writer import StoreWriter, open_writer

__all__ = [
    "Split",
    "Store",
    "StoreWriter",
    "open_store",
    "open_writer",
    "store_exists",
]
