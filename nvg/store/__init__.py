"""The store on disk (docs/FORMAT.md): open, write, verify, repair, export."""

from typing import TYPE_CHECKING

from nvg.lazy import lazy_face

if TYPE_CHECKING:
    from nvg.format.base import Split as Split
    from nvg.store.linked import open_store as open_store
    from nvg.store.shard_writer import open_writer as open_writer
    from nvg.store.store import Store as Store
    from nvg.store.store import store_exists as store_exists
    from nvg.store.writer import StoreWriter as StoreWriter
else:
    __getattr__, __dir__, __all__ = lazy_face(
        __name__,
        {
            "Split": "nvg.format.base",
            "Store": "nvg.store.store",
            "StoreWriter": "nvg.store.writer",
            "open_store": "nvg.store.linked",
            "open_writer": "nvg.store.shard_writer",
            "store_exists": "nvg.store.store",
        },
    )
