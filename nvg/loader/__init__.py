"""Store -> batches, in a seeded order, to be continued anywhere."""

from typing import TYPE_CHECKING

from nvg.lazy import lazy_face

if TYPE_CHECKING:
    from nvg.loader.loader import LoaderState as LoaderState
    from nvg.loader.loader import SequenceLoader as SequenceLoader
    from nvg.loader.mode import LoaderMode as LoaderMode
else:
    __getattr__, __dir__, __all__ = lazy_face(
        __name__,
        {
            "LoaderMode": "nvg.loader.mode",
            "LoaderState": "nvg.loader.loader",
            "SequenceLoader": "nvg.loader.loader",
        },
    )
