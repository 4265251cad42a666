"""Store -> batches, in a seeded order, to be continued anywhere."""

from nvg.loader.loader import (
    LoaderMode,
    LoaderState,
    SequenceLoader,
)

__all__ = [
    "LoaderMode",
    "LoaderState",
    "SequenceLoader",
]
