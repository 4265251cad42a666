"""Whether rows come from memory or are streamed; imports no torch."""

from enum import StrEnum

MEMORY_FRACTION = 0.5  # of the free memory, which a preloaded store may take


class LoaderMode(StrEnum):
    """Where rows come from."""

    AUTO = "auto"
    """Memory if the store takes at most half of what is free, else stream."""
    MEMORY = "memory"
    """The whole store is read at first, and shuffled as a whole."""
    STREAM = "stream"
    """Read as it is needed, and shuffled within windows of chunks."""

    def settled(self, needed: int, free: int) -> "LoaderMode":
        """Memory or stream, for a store that takes so many bytes."""
        if self is not LoaderMode.AUTO:
            return self
        return LoaderMode.MEMORY if needed <= MEMORY_FRACTION * free else LoaderMode.STREAM
